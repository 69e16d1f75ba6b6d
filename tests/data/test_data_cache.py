"""The cache: equal to the bit, never stale, never damaged, built once, and never in the way."""

import multiprocessing
import os
import re
import resource
import shutil
import signal
import tempfile
import time
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import medframe
from medframe.base.errors import BadArgument, BadFile, MedframeWarning
from medframe.base.files import _host
from medframe.base.rng import Rng
from medframe.data import Cache, Dataset, Key, Record
from medframe.data.cache import _given_up
from medframe.data.entry import settle
from medframe.data.lock import alone
from medframe.data.recipe import recipe
from medframe.image import Image
from medframe.transforms import Compose, Flip, IndexClasses, Lambda, Load, Orientation, RandomCrop, Spacing, invert

FORK = multiprocessing.get_context("fork")
FIXED = Compose([Load(labels="label"), Orientation("LPS"), Spacing((1.5, 1.5, 2)), IndexClasses()])


def entries(cache: Cache) -> list[Path]:
    return sorted(cache.folder.glob("*.safetensors"))


def direct(record: Record, fixed=FIXED):
    return settle(fixed(record.sample(), Rng("fixed")))


def cached(cache: Cache, record: Record, fixed=FIXED):
    """(sample, whether it was built)"""
    built = []

    def build():
        built.append(1)
        return direct(record, fixed)

    return cache.sample(record, recipe(fixed), build), bool(built)


def test_hit_and_miss_are_equal_to_the_bit(cases, tmp_path, same):
    cache = Cache(tmp_path / "cache")
    for record in cases:
        plain = direct(record)
        first, built = cached(cache, record)
        again, rebuilt = cached(cache, record)
        assert (built, rebuilt) == (True, False)
        same(first, plain)
        same(again, plain)
        for key in ("image", "label"):  # inverse after cache = inverse without
            same(invert(again)[key].settled(), invert(plain)[key].settled())
            assert not again[key].source_space.matches(again[key].space)
    assert len(entries(cache)) == 4
    assert cache.size == sum(p.stat().st_size for p in entries(cache))
    assert cache.clear() == 4
    assert cached(cache, cases[0])[1]


def test_voxels_are_memory_mapped(cases, tmp_path):
    cache = Cache(tmp_path / "cache")
    cached(cache, cases[0])
    sample, _ = cached(cache, cases[0])
    maps = Path("/proc/self/maps").read_text()
    assert entries(cache)[0].name in maps
    sample["image"].data.add_(1)  # against the rules, and it does no harm
    assert cached(cache, cases[0])[0]["image"].data.equal(direct(cases[0])["image"].data)
    del sample
    assert entries(cache)[0].name not in Path("/proc/self/maps").read_text()


def edit_image(record, path=None):
    path = path or record.images[0]
    before = path.stat()
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1  # one voxel; size and time stay
    path.write_bytes(raw)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def defined(source: str):
    space = {"__name__": "__main__", "np": np, "torch": torch}
    exec(source, space)  # what an edited script does
    return space["f"]


def with_function(source: str) -> Compose:
    return Compose([Load(), Lambda(defined(source))])


EDITS = {
    "a voxel, size and time kept": (lambda r: (edit_image(r), (r, FIXED))[1], "the file of image has changed"),
    "the label": (lambda r: (edit_image(r, r.label), (r, FIXED))[1], "the file of label has changed"),
    "time alone": (lambda r: (os.utime(r.images[0]), (r, FIXED))[1], "the file of image has changed"),
    "no label": (lambda r: (Record(r.case, r.images), Compose([Load(), Flip("R")])), "the file of label is gone"),
    "a parameter": (
        lambda r: (r, Compose([*FIXED.steps[:2], Spacing((1.5, 1.5, 2.1)), IndexClasses()])),
        r"step 3 \(Spacing\) has changed",
    ),
    "the order": (lambda r: (r, Compose([*FIXED.steps[:1], *FIXED.steps[2:0:-1]])), "step 2"),
    "one step more": (lambda r: (r, Compose([*FIXED.steps, Flip("R")])), r"step 5 \(Flip\) is new"),
    "another channel": (
        lambda r: (Record(r.case, (*r.images, r.label), r.label), FIXED),
        "never built",  # other files are another case
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_never_served_stale(name, cases, tmp_path, same):
    cache = Cache(tmp_path / "cache")
    cached(cache, cases[0])
    assert cache.explain(cases[0], FIXED).hit
    edit, why = EDITS[name]
    record, fixed = edit(cases[0])
    lookup = cache.explain(record, fixed)
    assert not lookup.hit
    assert re.search(why, str(lookup)), lookup
    sample, built = cached(cache, record, fixed)
    assert built
    same(sample, direct(record, fixed))
    assert str(cache.explain(record, fixed)) == "hit"


def test_an_edited_function_is_never_served_stale(cases, tmp_path):
    cache = Cache(tmp_path / "cache")
    for source in ("def f(x): return x + 1", "def f(x): return x + 2", "a = 3\ndef f(x): return x + a"):
        sample, built = cached(cache, cases[0], with_function(source))
        assert built
        assert sample["image"].data.equal(direct(cases[0], with_function(source))["image"].data)
    lookup = cache.explain(cases[0], with_function("a = 4\ndef f(x): return x + a"))
    assert str(lookup) == "miss: step 2 (Lambda) has changed"
    assert not cached(cache, cases[0], with_function("def f(x): return x + 2"))[1]  # and an old one is found again


@pytest.mark.parametrize("library", [medframe, torch])
def test_another_version_is_never_served(library, cases, tmp_path, monkeypatch):
    cache = Cache(tmp_path / "cache")
    cached(cache, cases[0])
    monkeypatch.setattr(library, "__version__", "99.0")
    assert str(cache.explain(cases[0], FIXED)) == f"miss: {library.__name__} has changed"
    assert cached(cache, cases[0])[1]


@pytest.mark.parametrize("count", [25, pytest.param(400, marks=pytest.mark.slow)])
def test_random_edits_are_never_served_stale(count, cases, tmp_path, same):
    cache, chance = Cache(tmp_path / "cache"), np.random.default_rng(0)
    spacing, source, builds = 1.5, "def f(x): return x", 0
    for _ in range(count):
        record = cases[chance.integers(len(cases))]
        kind = chance.integers(5)
        if kind == 0:
            edit_image(record)
        elif kind == 1:
            edit_image(record, record.label)
        elif kind == 2:
            spacing = float(chance.choice([1.4, 1.5, 1.6]))
        elif kind == 3:
            source = f"def f(x): return x + {chance.integers(4)}"
        fixed = Compose([Load(labels="label"), Spacing(spacing), Lambda(defined(source))])
        sample, built = cached(cache, record, fixed)
        same(sample, direct(record, fixed))
        builds += built
    assert 0.3 * count < builds < count  # both ways were taken


def damages(size: int, flips: int):
    yield from (("cut", n) for n in (0, 1, 7, 8, 100, size // 2, size - 1))
    yield from (("flip", n) for n in np.linspace(0, size - 1, flips).astype(int).tolist())
    yield ("garbage", size)
    yield ("longer", 10)


def damage(path: Path, kind: str, n: int) -> None:
    raw = bytearray(path.read_bytes())
    if kind == "flip":
        raw[n] ^= 1 << n % 8
    raw = {"cut": raw[:n], "flip": raw, "garbage": os.urandom(n), "longer": raw + bytes(n)}[kind]
    path.write_bytes(raw)
    os.utime(path, ns=(0, time.time_ns() + n))


@pytest.mark.parametrize("flips", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_entries_are_rebuilt_and_never_served(flips, cases, tmp_path, same):
    cache, record = Cache(tmp_path / "cache"), cases[0]
    truth = {"image": Image(torch.rand(2, 5, 6, 7), np.diag([1, 2, 3, 1.0]), meta={"k": (1,)}), "case": "case0"}
    made_by = recipe(FIXED)
    cache.sample(record, made_by, lambda: truth)
    (path,) = entries(cache)
    whole = path.read_bytes()
    for kind, n in damages(len(whole), flips):
        path.write_bytes(whole)
        damage(path, kind, n)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            built: list = []
            same(cache.sample(record, made_by, lambda built=built: (built.append(1), truth)[1]), truth)
            if built:
                assert [w.category for w in told] == [MedframeWarning], (kind, n)
                assert "the cache entry of case case0 is damaged and is built anew" in str(told[0].message)
            else:  # what was hit carries no data: padding between header and voxels, or behind them
                assert not told
                assert kind == "longer" or whole[n : n + 1] == b" ", (kind, n)
            same(cache.sample(record, made_by, lambda: 1 / 0), truth)
            assert len(entries(cache)) == 1


def test_explain_names_damage(cases, tmp_path):
    cache = Cache(tmp_path / "cache")
    assert "never built" in str(cache.explain(cases[0], FIXED))
    cached(cache, cases[0])
    damage(entries(cache)[0], "cut", 2000)
    assert "the entry is damaged" in str(cache.explain(cases[0], FIXED))


def test_a_process_verifies_an_entry_once(cases, tmp_path, monkeypatch):
    from medframe.data import cache as module

    calls = []
    read = module.read_container
    monkeypatch.setattr(module, "read_container", lambda *a, verify=True, **k: (calls.append(verify), read(*a, **k))[1])
    cache = Cache(tmp_path / "cache")
    for _ in range(4):
        cached(cache, cases[0])
    assert calls == [True, False, False, False]


def test_source_errors_pass_through(cases, tmp_path):
    cache = Cache(tmp_path / "cache")
    cases[0].images[0].unlink()
    with pytest.raises(BadFile, match=r"case0\.nii"):
        cached(cache, cases[0])
    assert entries(cache) == []


def test_what_cannot_be_stored_is_an_error(cases, tmp_path):
    cache = Cache(tmp_path / "cache")
    with pytest.raises(BadArgument, match=r"odd: a member of the sample cannot be cached; found builtins\.object"):
        cache.sample(cases[0], recipe(FIXED), lambda: {"odd": object()})


def test_several_samples_of_a_case(cases, tmp_path, same):
    cache = Cache(tmp_path / "cache")
    samples = [direct(record) for record in cases[:2]]
    same(cache.sample(cases[0], recipe(FIXED), lambda: samples), samples)
    same(cache.sample(cases[0], recipe(FIXED), lambda: 1 / 0), samples)


def test_no_names_in_file_names(cases, tmp_path):
    cache = Cache(tmp_path / "cache")
    cached(cache, cases[0])
    assert all("case" not in path.name for path in cache.folder.rglob("*"))


# budget


def test_the_least_recently_used_makes_room(cases, tmp_path):
    probe = Cache(tmp_path / "probe")
    for record in cases[:3]:
        cached(probe, record)
    sizes = [p.stat().st_size for p in entries(probe)]
    cache = Cache(tmp_path / "cache", budget_bytes=max(sizes) * 2 + min(sizes) // 2)
    for k, built in ((0, True), (1, True), (0, False), (2, True), (0, False), (1, True), (0, False), (2, True)):
        assert cached(cache, cases[k])[1] is built, k
        assert cache.size <= cache.budget_bytes
        time.sleep(0.01)
    assert len(entries(cache)) == 2


def test_a_sample_above_the_budget_is_not_kept(cases, tmp_path, same):
    cache = Cache(tmp_path / "cache", budget_bytes=1000)
    with pytest.warns(MedframeWarning, match="larger than the cache's budget"):
        sample, _ = cached(cache, cases[0])
    same(sample, direct(cases[0]))
    assert entries(cache) == []
    with pytest.raises(BadArgument, match="budget_bytes"):
        Cache(tmp_path, budget_bytes=0)


def test_an_evicted_entry_stays_readable_where_it_is_open(cases, tmp_path):
    cache = Cache(tmp_path / "cache")
    cached(cache, cases[0])
    sample, _ = cached(cache, cases[0])
    cache.clear()
    assert sample["image"].data.equal(direct(cases[0])["image"].data)


def test_reading_leaves_no_file_open(cases, tmp_path):
    cache = Cache(tmp_path / "cache", budget_bytes=1 << 30)
    cached(cache, cases[0])
    cached(cache, cases[0])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        cached(cache, cases[0])
    assert len(os.listdir("/proc/self/fd")) == before


# many processes


def child(target, *arguments):
    def run():
        torch.set_num_threads(1)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)  # a child that hangs dies, and its exit code says so
        target(*arguments)

    process = FORK.Process(target=run)
    process.start()
    return process


def build_all(folder: Path, records, log: Path, seed: int, pause: float) -> None:
    cache = Cache(folder)
    made_by = recipe(FIXED)
    for k in np.random.default_rng(seed).permutation(len(records)):
        record = records[k]

        def build(record=record):
            with open(log, "a") as stream:
                stream.write(f"{record.case}\n")
            time.sleep(pause)
            return small(record)

        sample = cache.sample(record, made_by, build)
        assert sample["x"].data.equal(small(record)["x"].data)


def small(record: Record):
    return {"x": Image(torch.full((1, 3, 3, 3), float(record.case[1:]))), "case": record.case}


def many(tmp_path: Path, count: int) -> list[Record]:
    file = tmp_path / "one.nii"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), file)
    return [Record(f"c{k}", (file,)) for k in range(count)]


@pytest.mark.parametrize(
    ("processes", "count", "rounds", "kills"),
    [(4, 40, 1, 4), pytest.param(8, 200, 3, 20, marks=pytest.mark.slow)],
)
def test_many_writers_build_each_entry_once(processes, count, rounds, kills, tmp_path):
    records, log = many(tmp_path, count), tmp_path / "log"
    chance = np.random.default_rng(5)
    for turn in range(rounds):
        folder = tmp_path / f"cache{turn}"
        log.write_text("")
        jobs = [child(build_all, folder, records, log, seed, 0.005) for seed in range(processes)]
        killed = 0
        for _ in range(kills // rounds):
            time.sleep(float(chance.uniform(0.03, 0.1)))
            victim = jobs[chance.integers(processes)]
            if victim.is_alive():
                victim.kill()
                victim.join()
                killed += 1
                jobs[jobs.index(victim)] = child(build_all, folder, records, log, 50 + killed, 0.005)
        for job in jobs:
            job.join(60)
            assert job.exitcode == 0
        built = log.read_text().split()
        assert set(built) == {r.case for r in records}
        assert killed > 0
        assert len(built) <= count + killed
        cache = Cache(folder)  # starting sweeps what killed writers left
        assert len(entries(cache)) == count
        left = [p.name for p in folder.iterdir() if p not in entries(cache)]
        assert left == ["locks"]


def hold_and_hang(lock: Path, told: Path) -> None:
    with alone(lock):
        told.write_text("held")
        time.sleep(60)


def test_a_killed_holder_lets_go_at_once(tmp_path):
    lock, told = tmp_path / "locks" / "x", tmp_path / "told"
    holder = child(hold_and_hang, lock, told)
    while not told.exists():
        time.sleep(0.01)
    with alone(lock, patience=0.1) as held:
        assert not held  # impatience goes on without
    holder.kill()
    start = time.monotonic()
    with alone(lock) as held:
        assert held
    assert time.monotonic() - start < 2
    holder.join()


def test_a_lock_does_not_outlive_its_block_in_a_forked_child(tmp_path):
    lock = tmp_path / "x"
    with alone(lock) as held:
        assert held
        heir = FORK.Process(target=time.sleep, args=(20,))
        heir.start()
    with alone(lock, patience=0.5) as held:
        assert held
    heir.kill()
    heir.join()


# a disk that fails


def run_in_child(target, *arguments) -> str:
    """What a child reports; its limits and its user stay its own."""
    folder = Path(tempfile.mkdtemp())
    os.chmod(folder, 0o777)

    def run():
        (folder / "report").write_text(target(*arguments))

    try:
        process = child(run)
        process.join(60)
        assert process.exitcode == 0
        return (folder / "report").read_text()
    finally:
        shutil.rmtree(folder)


def epoch_of(records, cache_folder: Path) -> str:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        dataset = Dataset(records, FIXED, RandomCrop((4, 4, 4)), cache=Cache(cache_folder))
        for epoch in range(2):
            for k in range(len(dataset)):
                assert dataset[Key(epoch, k)]["image"].data.shape == (1, 4, 4, 4)
    left = [p.name for p in cache_folder.rglob("*") if p.is_file() and p.parent.name != "locks"]
    return f"{len(told)} {told[0].category.__name__ if told else ''} {told[0].message if told else ''}|{left}"


def test_a_full_disk_costs_one_warning(cases, tmp_path):
    report = run_in_child(limited, cases, tmp_path / "cache")
    told, left = report.split("|")
    assert told.startswith("1 MedframeWarning nothing more is written to the cache in 'cache' (File too large)")
    assert left == "[]"


def limited(records, cache_folder: Path) -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        return epoch_of(records, cache_folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def as_somebody_else(records, cache_folder: Path) -> str:
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    return epoch_of(records, cache_folder)


@pytest.mark.parametrize("filled", [False, True])
def test_a_read_only_folder_costs_one_warning(filled, cases, tmp_path):
    root = Path(tempfile.mkdtemp())  # pytest's folders are closed to other users
    try:
        shutil.copytree(cases[0].images[0].parent, root / "files")
        records = [Record(r.case, (root / "files" / r.images[0].name,), root / "files" / r.label.name) for r in cases]
        cache = Cache(root / "cache")
        if filled:
            for record in records:
                cached(cache, record)
        for path in (root, *root.rglob("*")):
            os.chmod(path, 0o555 if path.is_dir() else 0o444)
        told, _ = run_in_child(as_somebody_else, records, cache.folder).split("|")
        if filled:
            assert told.strip() == "0"
        else:
            assert told.startswith(
                "1 MedframeWarning nothing more is written to the cache in 'cache' (Permission denied)"
            )
    finally:
        os.chmod(root, 0o755)
        for path in root.rglob("*"):
            if path.is_dir():
                os.chmod(path, 0o755)
        shutil.rmtree(root)


def test_a_folder_that_cannot_be_made(cases, tmp_path, same):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(MedframeWarning, match="the work goes on without"):
        cache = Cache(tmp_path / "file" / "cache")
    for record in cases:
        same(cached(cache, record)[0], direct(record))  # and says no more of it
    assert _given_up(cache.folder).is_set()


def test_a_folder_cleared_under_way_is_filled_again(cases, tmp_path):
    cache = Cache(tmp_path / "cache")
    cached(cache, cases[0])
    shutil.rmtree(cache.folder)
    assert cached(cache, cases[0])[1]
    assert not cached(cache, cases[0])[1]


def test_orphans_are_swept_at_start(tmp_path):
    gone = FORK.Process(target=int)
    gone.start()
    gone.join()
    cache = Cache(tmp_path / "cache")
    orphan = cache.folder / f".medframe-part-{gone.pid}-{_host()}-abcd-x"
    alive = cache.folder / f".medframe-part-{os.getpid()}-{_host()}-abcd-x"
    for path in (orphan, alive):
        path.write_bytes(b"x")
    Cache(cache.folder)
    assert [p.name for p in cache.folder.iterdir()] == [alive.name]


def test_a_home_folder_is_followed(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Cache("~/c").folder == tmp_path / "c"
