"""What a fixed pipeline is: hashes of its parameters and of its code, so that a cache knows when either changed."""

from __future__ import annotations

import functools
import hashlib
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.base.fingerprint import code_version, fingerprint
from medframe.image import Image
from medframe.transforms import Compose, Transform

_DEPTH = 60
_VISITS = 200_000
# the packages that decide which voxels a pipeline makes
_OWN = ("base", "geometry", "image", "io", "kernels", "transforms")


@dataclass(frozen=True)
class Recipe:
    """A pipeline's identity.

    Args:
        parts: what it is made of (a step, a class's code, a library's version) -> hash.
        files: files that its parameters name; their content counts too.
    """

    parts: Mapping[str, str]
    files: tuple[Path, ...] = ()


def recipe(fixed: Transform) -> Recipe:
    """The recipe of a pipeline.

    Arrays count by their values, functions by their code, defaults, closures and by the globals they use.

    Raises:
        BadArgument: a parameter cannot be told apart from another of its kind.
    """
    gather = _Gather()
    parts = {"medframe": fingerprint(_version_of("medframe"), own_code()), "torch": torch.__version__.partition("+")[0]}
    steps = fixed.steps if type(fixed) is Compose and fixed.p == 1 and fixed.keys is None else (fixed,)
    for i, step in enumerate(steps, start=1):
        parts[f"step {i} ({type(step).__name__})"] = fingerprint(repr(gather.describe(step)))
    parts.update({f"the code of {name}": value for name, value in gather.codes.items()})
    return Recipe(parts, tuple(dict.fromkeys(gather.files)))


@lru_cache(maxsize=1)
def own_code() -> str:
    """A hash of medframe's source where it makes voxels, so that developers need not think of their caches either."""
    digest = hashlib.blake2b(digest_size=12)
    root = Path(__file__).parents[1]
    for package in _OWN:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


@dataclass
class _Gather:
    """One walk through a pipeline: what it meets on its way."""

    codes: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    functions: set[int] = field(default_factory=set)
    visits: int = 0

    def describe(self, value: Any, depth: int = 0) -> Any:
        """Nested lists of text that are equal exactly where two values do the same."""
        self.visits += 1
        if depth > _DEPTH or self.visits > _VISITS:
            raise BadArgument("a parameter is too large or refers to itself", found=type(value).__name__)
        deeper = functools.partial(self.describe, depth=depth + 1)
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        if value is None or isinstance(value, bool | int | float | complex | str | bytes | torch.dtype | np.generic):
            return [kind, repr(value)]
        if isinstance(value, Path):
            if value.exists():
                self.files.append(value)
            return ["path", str(value)]
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            return [kind, list(value.shape), deeper(value.ravel().tolist())]
        if isinstance(value, Tensor):
            bytes_ = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            return [kind, str(value.dtype), list(value.shape), _digest(bytes_)]
        if isinstance(value, np.ndarray):
            return [kind, value.dtype.str, list(value.shape), _digest(value.tobytes())]
        if isinstance(value, Mapping):
            return [kind, [[deeper(k), deeper(v)] for k, v in value.items()]]
        if isinstance(value, tuple | list):
            return [kind, [deeper(v) for v in value]]
        if isinstance(value, set | frozenset):
            return [kind, sorted(repr(deeper(v)) for v in value)]
        if isinstance(value, Image):
            return [kind, deeper(value.place), deeper(value.data)]
        if isinstance(value, types.ModuleType):
            return ["module", value.__name__, _version_of(value.__name__)]
        if isinstance(value, type):
            return ["type", self._class(value, depth)]
        if isinstance(value, functools.partial):
            return [kind, deeper(value.func), deeper(value.args), deeper(value.keywords)]
        if isinstance(value, types.MethodType):
            return [kind, deeper(value.__func__), deeper(value.__self__)]
        if isinstance(value, types.FunctionType):
            return self._function(value, depth)
        if isinstance(value, types.BuiltinFunctionType | np.ufunc):
            return [kind, str(getattr(value, "__module__", "")), value.__name__]
        name = self._class(type(value), depth)
        if is_dataclass(value):
            return [name, [[f.name, deeper(getattr(value, f.name))] for f in fields(value)]]
        if getattr(value, "__dict__", None):
            return [name, deeper(vars(value))]
        text = repr(value)
        if " at 0x" in text:
            raise BadArgument(
                "a parameter of a fixed step cannot be cached: it does not say what it is",
                found=text[:80],
                due="plain values, arrays, functions, or objects with a repr of their own",
            )
        return [name, text]

    def _class(self, cls: type, depth: int) -> str:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if name in self.codes or cls.__module__ == "builtins":
            return name
        self.codes[name] = ""  # met; classes may refer to themselves
        found: list[Any] = [code_version(cls)]
        for part in cls.__mro__:
            if _is_library(part.__module__):
                found.append(
                    part.__module__ if part.__module__.startswith("medframe") else _version_of(part.__module__)
                )
            else:
                own = {k: _plain(v) for k, v in vars(part).items() if k != "__firstlineno__"}
                found += [[k, self.describe(v, depth + 1)] for k, v in own.items() if v is not None]
        self.codes[name] = fingerprint(repr(found))
        return name

    def _function(self, function: types.FunctionType, depth: int) -> Any:
        name = [function.__module__, function.__qualname__]
        if _is_library(function.__module__):
            return [*name, _version_of(function.__module__)]
        if id(function) in self.functions:
            return name  # described already, or being described
        self.functions.add(id(function))
        cells = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
        used = sorted(_globals_of(function.__code__) & function.__globals__.keys())
        values = [[key, self._global(function.__globals__[key], depth + 1)] for key in used]
        defaults = [function.__defaults__, function.__kwdefaults__]
        return [*name, _code(function.__code__), self.describe([cells, defaults], depth + 1), values]

    def _global(self, value: Any, depth: int) -> Any:
        try:
            return self.describe(value, depth)
        except BadArgument:
            return repr(type(value))  # such as a logger: part of the surroundings, not of the result


def _plain(attribute: Any) -> Any:
    """What counts of a class's attribute: its function, or its plain value."""
    function = getattr(attribute, "fget", None) or getattr(attribute, "__func__", attribute)
    return function if isinstance(function, types.FunctionType | int | float | str | tuple) else None


def _is_library(module: str | None) -> bool:
    """Whether a module is installed or built in, so that its version stands for its code; medframe's is hashed."""
    top = str(module).partition(".")[0]
    loaded = sys.modules.get(str(module))
    if top == "__main__" or loaded is None:
        return False
    file = getattr(loaded, "__file__", None)
    installed = file is None or not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)
    return installed or top == "medframe" or top in sys.stdlib_module_names


def _version_of(module: str) -> str:
    return str(getattr(sys.modules.get(module.partition(".")[0]), "__version__", ""))


def _digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def _filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _globals_of(code: types.CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*(_globals_of(c) for c in inner))


def _code(code: types.CodeType) -> list[Any]:
    constants = [_code(c) if isinstance(c, types.CodeType) else _constant(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), constants]


def _constant(value: object) -> str:
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
