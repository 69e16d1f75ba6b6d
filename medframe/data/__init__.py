"""From a folder of files to batches: records, splits, caches, datasets, samplers, loaders."""

from medframe.data.cache import Cache, Lookup
from medframe.data.dataset import Dataset
from medframe.data.find import find_images
from medframe.data.layouts import read_cohort
from medframe.data.loader import Loader, loader
from medframe.data.records import Cohort, Record
from medframe.data.sampler import Key, KeySampler, OnceSampler
from medframe.data.split import split

__all__ = [
    "Cache",
    "Cohort",
    "Dataset",
    "Key",
    "KeySampler",
    "Loader",
    "Lookup",
    "OnceSampler",
    "Record",
    "find_images",
    "loader",
    "read_cohort",
    "split",
]
