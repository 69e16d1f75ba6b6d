"""Values: images, label maps, points, boxes, batches. They know no verbs."""

from medframe.image.image import Image, LabelMap, Place, Read, reads_of
from medframe.image.points import Boxes, Points
from medframe.image.sample import Batch, Sample, collate
from medframe.image.source import Stack, TensorSource

__all__ = [
    "Batch",
    "Boxes",
    "Image",
    "LabelMap",
    "Place",
    "Points",
    "Read",
    "Sample",
    "Stack",
    "TensorSource",
    "collate",
    "reads_of",
]
