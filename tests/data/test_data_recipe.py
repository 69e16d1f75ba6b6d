"""Two pipelines have one recipe exactly where they do the same."""

import functools
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import medframe
from medframe.base.errors import BadArgument, BadFile
from medframe.data.identity import files_behind, identity
from medframe.data.recipe import recipe
from medframe.image import Image
from medframe.transforms import Compose, Flip, Lambda, Spacing, Transform


@dataclass(frozen=True, repr=False)
class Holder(Transform):
    """Holds any value, to see whether it counts."""

    value: Any = None


def key(step: Transform) -> dict:
    return dict(recipe(step).parts)


def function(source: str, **surroundings: object):
    """A function called f from source, as a script would define it."""
    space = {"__name__": "__main__", "np": np, "torch": torch, "math": math, **surroundings}
    exec(source, space)  # what an edited script does
    return space["f"]


class Plain:
    def __init__(self, a):
        self.a = a


BIG = np.zeros(5000)
OTHER = BIG.copy()
OTHER[2500] = 1  # numpy's repr shows neither

DIFFERENT = {
    "number": (1, 2),
    "int and float": (1, 1.0),
    "bool and int": (True, 1),
    "tuple and nested": (((1, 2), 3), ((1,), 2, 3)),
    "array": (BIG, OTHER),
    "array shape": (np.zeros((2, 3)), np.zeros((3, 2))),
    "array dtype": (np.zeros(2, np.int32), np.zeros(2, np.float32)),
    "array of objects": (np.array([1, "a"], object), np.array([1, "b"], object)),
    "tensor": (torch.from_numpy(BIG), torch.from_numpy(OTHER)),
    "image": (Image(torch.zeros(1, 9, 9, 9)), Image(torch.zeros(1, 9, 9, 9), np.diag([1, 1, 2.0, 1]))),
    "mapping": ({"a": 1}, {"a": 2}),
    "set": ({1, 2}, {1, 3}),
    "object": (Plain(1), Plain(2)),
    "network": (torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)),
    "partial": (functools.partial(pow, exp=2), functools.partial(pow, exp=3)),
    "library functions": (np.exp, np.log),
    "code": (function("def f(x): return x + 1"), function("def f(x): return x + 2")),
    "default": (function("def f(x, a=1): return a"), function("def f(x, a=2): return a")),
    "closure": (
        function("def g(a):\n  def f(x): return a\n  return f\nf = g(1)"),
        function("def g(a):\n  def f(x): return a\n  return f\nf = g(2)"),
    ),
    "global": (function("c = 1\ndef f(x): return c"), function("c = 2\ndef f(x): return c")),
    "helper": (
        function("def h(x): return x\ndef f(x): return h(x)"),
        function("def h(x): return -x\ndef f(x): return h(x)"),
    ),
    "inner function": (
        function("def f(x): return [y + 1 for y in x]"),
        function("def f(x): return [y + 2 for y in x]"),
    ),
    "called name": (function("def f(x): return np.sin(x)"), function("def f(x): return np.cos(x)")),
    "method": (Plain(1).__init__, Plain(2).__init__),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_values_have_different_recipes(name):
    one, other = DIFFERENT[name]
    assert key(Holder(one)) != key(Holder(other))
    assert key(Holder(one)) == key(Holder(one))


SAME = {
    "array": (BIG, BIG.copy()),
    "shared and apart": (((1, 2),) * 2, tuple(tuple(pair) for pair in ([1, 2], [1, 2]))),
    "function defined again": (function("c = 1\ndef f(x): return c"), function("c = 1\ndef f(x): return c")),
    "unused global": (function("c = 1\ndef f(x): return x"), function("c = 2\ndef f(x): return x")),
    "recursion": (function("def f(x): return f(x)"), function("def f(x): return f(x)")),
}


@pytest.mark.parametrize("name", SAME)
def test_same_values_have_the_same_recipe(name):
    one, other = SAME[name]
    assert key(Holder(one)) == key(Holder(other))


def test_a_logger_among_the_globals_is_no_obstacle():
    step = Lambda(function("def f(x):\n  log\n  return x", log=object()))
    assert key(step) == key(step)


def endless():
    loop = Plain(None)
    loop.a = loop
    return loop


class Shy:
    __slots__ = ()


@pytest.mark.parametrize(("value", "message"), [(Shy(), "does not say what it is"), (endless(), "refers to itself")])
def test_what_cannot_be_told_apart_is_refused(value, message):
    with pytest.raises(BadArgument, match=message):
        recipe(Holder(value))


def test_parts_have_names():
    parts = key(Compose([Spacing((1, 1, 2)), Flip("R")]))
    assert {"medframe", "torch", "step 1 (Spacing)", "step 2 (Flip)"} < set(parts)
    assert sum(name.startswith("the code of") and "Spacing" in name for name in parts) == 1
    changed = key(Compose([Spacing((1, 1, 3)), Flip("R")]))
    assert {name for name in parts if parts[name] != changed[name]} == {"step 1 (Spacing)"}


def test_versions_count(monkeypatch):
    before = key(Flip("R"))
    monkeypatch.setattr(medframe, "__version__", "99")
    after = key(Flip("R"))
    assert {name for name in before if before[name] != after[name]} == {"medframe"}
    monkeypatch.undo()
    monkeypatch.setattr(torch, "__version__", "99.0+cpu")
    assert key(Flip("R"))["torch"] == "99.0"


def test_an_edited_class_counts():
    def make(body: str) -> type:
        space = {"__name__": "__main__", "Transform": Transform, "dataclass": dataclass, "field": field}
        exec(f"@dataclass(frozen=True, repr=False)\nclass Step(Transform):\n    {body}", space)
        return space["Step"]

    bodies = ["def on_sample(self, s, r): return s", "def on_sample(self, s, r): return {}", "level = 3", "level = 4"]
    made = [repr(key(make(body)())) for body in bodies]
    assert len(set(made)) == 4
    assert made[0] == repr(key(make(bodies[0])()))


def test_files_that_a_step_names_are_found(tmp_path):
    file = tmp_path / "atlas.nii"
    file.write_bytes(b"a")
    assert recipe(Holder(file)).files == (file,)
    assert recipe(Holder(tmp_path / "none")).files == ()


SCRIPT = """
import numpy as np
from medframe.data.recipe import recipe
from medframe.transforms import Compose, Flip, IndexClasses, Lambda, Spacing
parts = sorted(recipe(Compose([Spacing((1, 1, 2)), Flip("R"), Lambda(np.negative), IndexClasses()])).parts.items())
parts = [part for part in parts if part[0] != "medframe"]  # its source may be edited while this runs
"""


def test_another_process_finds_the_same_recipe():
    # the order of sets of texts depends on the seed of hashing, which differs between processes
    env = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", SCRIPT + "print(parts)"]
    there = subprocess.run(command, env=env, capture_output=True, check=True, text=True).stdout.strip()
    here: dict = {}
    exec(SCRIPT, here)
    assert there == repr(here["parts"])
    assert "Spacing" in there


def old(path: Path, text: bytes) -> Path:
    path.write_bytes(text)
    os.utime(path, ns=(10**18, 10**18))
    return path


def test_identity_sees_an_edit_that_keeps_size_and_time(tmp_path):
    file = old(tmp_path / "a.nii", b"abc" * 100)
    before = identity(file)
    assert identity(file) == before
    old(file, b"abd" * 100)
    assert identity(file) != before
    old(file, b"abc" * 100)
    assert identity(file) == before
    copy = old(tmp_path / "b.nii", b"abc" * 100)
    assert identity(copy) != before  # another place


def test_full_identity_sees_the_middle(tmp_path):
    size = 200 << 10
    file = old(tmp_path / "a.nii", bytes(size))
    ends, full = identity(file), identity(file, full=True)
    old(file, bytes(size // 2) + b"x" + bytes(size - size // 2 - 1))
    assert identity(file) == ends
    assert identity(file, full=True) != full


def test_identity_of_folders_and_detached_data(tmp_path):
    for name in ("s/1", "s/2", "v.raw", "slice1.raw", "slice2.raw", "p.img", "p.hdr", "pq.img", "l1.z", "[x].raw"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        old(tmp_path / name, b"x")
    headers = {
        "v.mhd": b"NDims = 3\nElementDataFile = v.raw\n",
        "n.nhdr": b"NRRD0004\ndata file: slice%01d.raw 1 2 1\nencoding: raw\n",
        "l.mhd": b"ElementDataFile = LIST\nl1.z\nv.raw\n",
        "x.mhd": b"ElementDataFile = [x].raw\n",
        "own.mha": b"ElementDataFile = LOCAL\nv.raw\n",
        "out.mhd": b"ElementDataFile = ../../v.raw\n",
    }
    for name, text in headers.items():
        old(tmp_path / name, text)
    due = {
        "s": ["1", "2"],
        "v.mhd": ["v.mhd", "v.raw"],
        "n.nhdr": ["n.nhdr", "slice1.raw", "slice2.raw"],
        "l.mhd": ["l.mhd", "l1.z", "v.raw"],
        "x.mhd": ["[x].raw", "x.mhd"],
        "own.mha": ["own.mha"],
        "out.mhd": ["out.mhd"],
        "p.img": ["p.hdr", "p.img"],
        "v.raw": ["v.raw"],
    }
    for name, names in due.items():
        assert [p.name for p in files_behind(tmp_path / name)] == names
    before = {name: identity(tmp_path / name) for name in due}
    old(tmp_path / "v.raw", b"y")
    assert {name for name in due if identity(tmp_path / name) != before[name]} == {"v.mhd", "l.mhd", "v.raw"}


def test_identity_of_what_is_no_file(tmp_path):
    with pytest.raises(BadFile, match="cannot be read"):
        identity(tmp_path / "none.nii")
    os.mkfifo(tmp_path / "pipe.nii")
    with pytest.raises(BadFile, match="a pipe"):  # and does not wait for a writer
        identity(tmp_path / "pipe.nii")
