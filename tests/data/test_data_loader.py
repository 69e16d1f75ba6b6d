"""Loaders: workers change nothing but the time, errors come out whole, and nothing hangs."""

import gc
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import psutil
import pytest
import torch
from torch.utils.data import DataLoader

from medframe.base import errors
from medframe.base.errors import BadArgument, BadFile, BadVoxels, MedframeError
from medframe.data import Cache, Dataset, KeySampler, OnceSampler, loader
from medframe.image import Batch, Image
from medframe.transforms import (
    Compose,
    CropByLabel,
    Elastic,
    Flip,
    IndexClasses,
    Load,
    OneOf,
    RandomCrop,
    Rotate,
    Scale,
    SomeOf,
    Spacing,
)

FIXED = Compose([Load(labels="label"), Spacing(1.4), IndexClasses()])
RANDOM = Compose(
    [
        CropByLabel((6, 6, 4)),
        OneOf([Rotate((-20, 20)), Scale((0.8, 1.2))]),
        SomeOf([Flip("R"), Flip("A"), Flip("S")], (0, 3)),
        Elastic((0.2, 0.5), p=0.5),
    ]
)


@pytest.fixture
def dataset(cases, tmp_path):
    return Dataset(cases, FIXED, RANDOM, seed=3, cache=Cache(tmp_path / "cache"))


def digest(batch: Batch) -> str:
    out = hashlib.blake2b()
    for key, tensor in batch.tensors.items():
        out.update(key.encode() + tensor.contiguous().numpy().tobytes())
        for place in batch.places[key]:
            out.update(place.space.affine.tobytes() + place.source_space.affine.tobytes())
    return out.hexdigest() + repr(batch.extras["case"])


def stream(dataset, count=6, start=0, **options):
    batches = loader(dataset, 2, KeySampler(len(dataset), 1, start), **options)
    return [digest(batch) for batch in islice(batches, count)]


def children() -> set[int]:
    return {p.pid for p in psutil.Process().children(recursive=True)}


def test_the_number_of_workers_changes_nothing(dataset):
    due = stream(dataset)
    assert len(set(due)) == 6
    for workers in (1, 3):
        assert stream(dataset, workers=workers, prefetch=1 + workers) == due
    assert stream(Dataset(dataset.records, FIXED, RANDOM, seed=3)) == due  # nor does the cache


def test_the_start_method_changes_nothing(dataset):
    assert stream(dataset, workers=1, start_method="spawn") == stream(dataset)


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_no_setting_changes_anything(workers, start_method, dataset):
    assert stream(dataset, 12, workers=workers, start_method=start_method) == stream(dataset, 12)


@pytest.mark.parametrize("workers", [0, 2])
def test_persistent_workers_get_the_epoch(workers, dataset):
    batches = loader(dataset, 2, KeySampler(4, 1, stop=8), workers=workers)
    assert len(batches) == 4
    first, second = ([digest(b) for b in batches] for _ in range(2))
    assert first == second == stream(dataset, 4)  # a pass leaves no trace
    assert len(set(first)) == 4  # two epochs, no two batches alike
    assert [digest(b) for b in islice(batches, 1)] == first[:1]  # left early ...
    assert [digest(b) for b in batches] == first  # ... and used again


@pytest.mark.parametrize(("stopped_at", "workers"), [(1, 0), (3, 2), (4, 1)])
def test_resuming_in_mid_epoch(stopped_at, workers, dataset):
    assert stream(dataset, 6 - stopped_at, start=2 * stopped_at, workers=workers) == stream(dataset)[stopped_at:]


def test_every_case_once_by_default(dataset):
    batches = list(loader(dataset, 3))
    assert [b["case"] for b in batches] == [("case0", "case1", "case2"), ("case3",)]
    assert [b["case"] for b in loader(dataset, 3, drop_last=True)] == [("case0", "case1", "case2")]
    ranks = [list(loader(dataset, 1, OnceSampler(4, rank, 3))) for rank in range(3)]
    assert sorted(b["case"][0] for part in ranks for b in part) == ["case0", "case1", "case2", "case3"]


def test_lists_of_samples_are_flattened(cases):
    dataset = Dataset(cases, Load(labels="label"), RandomCrop((4, 4, 4), count=3))
    batch = next(iter(loader(dataset, 2, workers=1)))
    assert batch["image"].shape == (6, 1, 4, 4, 4)


def test_torch_state_is_not_touched(dataset):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    for workers in (0, 1):
        assert len(list(loader(dataset, 2, workers=workers))) == 2
    assert torch.get_rng_state().equal(before)


def test_it_is_a_dataloader(dataset):
    batches = loader(dataset, 2)
    assert isinstance(batches, DataLoader)
    assert batches.batch_size is None
    assert isinstance(next(iter(batches)), Batch)
    with pytest.raises(TypeError, match="endless"):
        len(loader(dataset, 2, KeySampler(4)))


def test_memory_filled_before_the_fork_is_shared(cases):
    dataset = Dataset(cases, FIXED, RANDOM, seed=3, memory=True)
    due = stream(Dataset(cases, FIXED, RANDOM, seed=3))
    dataset.prepare(1, progress=False)
    for record in cases:
        record.images[0].unlink()
    assert stream(dataset, workers=2, start_method="fork") == due


class Raising:
    """Two good samples, then an error."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 4

    def __getitem__(self, key):
        if key.index < 2:
            return {"image": Image(torch.full((1, 2, 2), float(key.index)))}
        raise self.error


class Local(BadVoxels):
    """A subclass that other processes cannot import, with state that does not pickle."""

    def __init__(self, what, **parts):
        super().__init__(what, **parts)
        self.secret = lambda: None


Local.__qualname__ = "somewhere.<locals>.Local"
PARTS = {"where": "a.nii", "found": "x", "due": "y", "mend": "Do z."}
CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, MedframeError)]


def raised(error, workers):
    batches = loader(Raising(error), 1, workers=workers)
    seen = []
    try:
        for batch in batches:
            seen.append(batch["image"].mean().item())
    except Exception as caught:
        assert seen == [0.0, 1.0]  # what came before is not lost
        return caught.with_traceback(None)
    raise AssertionError("no error came out")


@pytest.mark.parametrize("kind", [*CLASSES, Local])
def test_our_errors_come_out_whole(kind):
    for workers in (0, 1):
        error = raised(kind("it broke", **PARTS), workers)
        assert isinstance(error, kind if kind is not Local or workers == 0 else BadVoxels)
        assert (error.what, error.where, error.found, error.due, error.mend) == ("it broke", *PARTS.values())
        assert str(error) == "a.nii: it broke; found x; expected y. Do z."
        if workers:
            assert "in __getitem__" in error.__notes__[0]


class Odd(Exception):
    """An error that neither pickles nor can be made from its text."""

    def __init__(self, a, b):
        super().__init__("odd")
        self.both = (a, b, lambda: None)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ZeroDivisionError("by zero"), ZeroDivisionError, "by zero"),
        (KeyError("k"), KeyError, "k"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), RuntimeError, "UnicodeDecodeError.*bad"),
        (StopIteration("early"), RuntimeError, "StopIteration: early"),
        (Odd(1, 2), RuntimeError, "Odd: odd"),
    ],
)
def test_other_errors_come_out_by_name(error, kind, text):
    out = raised(error, 1)
    assert type(out) is kind
    assert re.search(text, str(out))
    assert "in __getitem__" in out.__notes__[0]


def test_the_loader_works_on_after_an_error():
    batches = loader(Raising(BadFile("x")), 1, workers=2)
    for _ in range(2):
        with pytest.raises(BadFile):
            list(batches)
    assert next(iter(batches))["image"].shape == (1, 1, 2, 2)


class Extra(Raising):
    def __getitem__(self, key):
        return {"image": Image(torch.zeros(1, 2, 2)), "tool": lambda: None}


def test_what_cannot_be_sent_is_named():
    assert callable(next(iter(loader(Extra(None))))["tool"][0])
    with pytest.raises(BadArgument, match=r"tool: a member of the sample cannot be sent from a worker.*workers=0"):
        next(iter(loader(Extra(None), workers=1)))


class Shapes(Raising):
    def __getitem__(self, key):
        return {"image": Image(torch.zeros(1, 2 + key.index, 2))}


def test_errors_of_collating_come_out_whole():
    with pytest.raises(MedframeError, match="images 'image' of one batch differ in shape"):
        next(iter(loader(Shapes(None), 2, workers=1)))


class Dying(Raising):
    def __getitem__(self, key):
        if key.index == 2:
            os.kill(os.getpid(), self.error)
            time.sleep(30)
        return {"image": Image(torch.zeros(1, 2, 2))}


def test_a_killed_worker_is_an_error_that_says_so():
    before = children()
    batches = loader(Dying(signal.SIGKILL), 1, workers=2)
    start = time.monotonic()
    with pytest.raises(MedframeError, match=r"a loader worker died.*Most often memory ran out"):
        list(batches)
    assert time.monotonic() - start < 20
    del batches
    assert children() <= before  # the other worker went too


class Slow(Raising):
    def __getitem__(self, key):
        time.sleep(self.error)
        return {"image": Image(torch.zeros(1, 2, 2))}


def test_a_worker_that_hangs_is_an_error_where_a_timeout_is_set():
    with pytest.raises(MedframeError, match="gave no batch in time"):
        list(loader(Slow(1), 1, workers=1, timeout=0.3))


def test_signals_to_the_whole_job_leave_workers_alive():
    batches = loader(Slow(0.1), 1, workers=2)
    passing = iter(batches)
    next(passing)
    workers = batches._iterator._workers
    for pid in (w.pid for w in workers):  # from another process than their own parent, as a scheduler does
        subprocess.run([sys.executable, "-S", "-c", f"import os; os.kill({pid}, 2); os.kill({pid}, 15)"], check=True)
    assert len(list(passing)) == 3
    assert all(w.is_alive() for w in workers)
    workers[0].terminate()  # their parent's word counts
    workers[0].join(5)
    assert workers[0].exitcode == 0


SCRIPT = """
import sys, torch
from medframe.data import KeySampler, loader
from medframe.image import Image
class Endless:
    def __len__(self): return 4
    def __getitem__(self, key): return {"image": Image(torch.zeros(1, 64, 64))}
def main():
    batches = loader(Endless(), 1, KeySampler(4), workers=2)
    passing = iter(batches)
    next(passing)
    print(*(w.pid for w in batches._iterator._workers), flush=True)
    if sys.argv[1] == "cycle":
        batches.me = batches
        batches.passing = passing
    elif sys.argv[1] == "global":
        globals()["kept"] = batches, passing
    elif sys.argv[1] == "error":
        raise ValueError("in the middle")
    elif sys.argv[1] == "killed":
        import os
        os.kill(os.getpid(), 9)
main()
"""


SLOW = pytest.mark.slow


def left_in_shared_memory(before):
    """What appeared in /dev/shm since and stays; other tests' processes may run beside us and hold their own."""
    patience = time.monotonic() + 3
    while True:
        rest = set(os.listdir("/dev/shm")) - before
        pids = {name: int(name.split("_")[1]) for name in rest if re.fullmatch(r"torch_\d+_.*", name)}
        rest = {n for n in rest if n not in pids or pids[n] == os.getpid() or not psutil.pid_exists(pids[n])}
        if not rest or time.monotonic() > patience:
            return rest
        time.sleep(0.05)


@pytest.mark.parametrize("way", ["global", *(pytest.param(w, marks=SLOW) for w in ("end", "cycle", "error", "killed"))])
def test_a_script_ends_at_once_and_takes_its_workers_along(way):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    shm = set(os.listdir("/dev/shm"))
    with subprocess.Popen([sys.executable, "-c", SCRIPT, way], env=env, stdout=-1, stderr=-1, text=True) as script:
        pids = [int(pid) for pid in script.stdout.readline().split()]
        start = time.monotonic()
        script.wait(20)
        assert time.monotonic() - start < 9  # torch waits 5 s for each worker that does not answer
        assert len(pids) == 2
        gone_by = time.monotonic() + 12  # an orphan looks for its parent every 5 s
        while any(psutil.pid_exists(pid) for pid in pids):
            assert time.monotonic() < gone_by
            time.sleep(0.05)
        error = script.stderr.read()
    assert script.returncode == {"error": 1, "killed": -9}.get(way, 0)
    assert ("ValueError" in error) == (way == "error")
    assert "Exception ignored" not in error
    assert not left_in_shared_memory(shm)


def test_nothing_is_left_behind(dataset):
    def state():
        gc.collect()
        return children(), set(os.listdir("/dev/shm")), len(os.listdir("/proc/self/fd"))

    list(loader(dataset, 2, workers=1))  # what torch keeps open once and for all
    before = state()
    for _ in range(3):
        batches = loader(dataset, 2, KeySampler(4), workers=2)
        assert len(list(islice(batches, 3))) == 3
        del batches
    after = state()
    assert after[0] == before[0]
    assert not left_in_shared_memory(before[1])
    assert after[2] <= before[2] + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "out of its domain"),
        ({"workers": -1}, "out of its domain"),
        ({"prefetch": 0, "workers": 1}, "out of its domain"),
        ({"start_method": "thread"}, "unknown start method.*fork"),
    ],
)
def test_faults(options, message, dataset):
    with pytest.raises(BadArgument, match=message):
        loader(dataset, **options)


@pytest.mark.slow
def test_memory_stays_flat(dataset):
    batches = loader(dataset, 2, KeySampler(4, stop=8), workers=2)
    me = psutil.Process()

    def used():
        return sum(p.memory_full_info().uss for p in (me, *me.children(recursive=True)))

    files, samples = [], []
    for epoch in range(200):
        for batch in batches:
            assert batch["image"].shape[0] == 2
        if epoch >= 20 and epoch % 20 == 0:
            samples.append(used())
            files.append(len(os.listdir("/proc/self/fd")))
    assert samples[-1] < samples[0] * 1.01 + (1 << 20), samples
    assert max(files) <= files[0] + 1
