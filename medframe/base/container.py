"""The one checksummed file for caches and checkpoints: named arrays and JSON, no code.

The file is a valid safetensors file, so any safetensors reader opens it. In its `__metadata__` stand a kind, a format
version, our JSON, and checksums: CRC-32 of every array and BLAKE2b of everything else. Arrays are memory-mapped, so a
crop of a cached volume touches only its own pages.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.errors import BadArgument, BadFile, Incompatible
from medframe.base.files import atomic_write

FORMAT = 1
_ALIGN = 64
_MAX_HEADER = 100 << 20
_DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "BOOL": torch.bool,
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class Container:
    """An opened file: its JSON and its arrays, memory-mapped and read-only in spirit (pages are copied on write)."""

    path: Path
    kind: str
    json: dict[str, Any]
    tensors: dict[str, Tensor]


def write_container(
    path: str | os.PathLike[str],
    kind: str,
    tensors: Mapping[str, Tensor],
    json_: Mapping[str, Any],
    *,
    overwrite: bool = True,
) -> None:
    """Write arrays and JSON as one file, atomically.

    Args:
        path: the final name.
        kind: what the file is ("cache", "checkpoint"); the reader asks for it.
        tensors: named tensors of any shape, dtype and device.
        json_: plain JSON values; NaN is refused.
        overwrite: False refuses a name that is taken.

    Raises:
        WriteFailed: the file could not be written.
        BadArgument: a dtype has no safetensors code, or a value is not JSON.
    """
    # flattening first: a 0-d tensor cannot be viewed as bytes
    widest_first = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))  # so all are aligned
    flat = {name: t.detach().to("cpu").contiguous().reshape(-1) for name, t in widest_first}
    table: dict[str, Any] = {}
    sums: dict[str, int] = {}
    at = 0
    for name, t in flat.items():
        if t.dtype not in _CODES:
            raise BadArgument(f"tensor {name!r} has no safetensors dtype", found=t.dtype, due=", ".join(_DTYPES))
        size = t.numel() * t.element_size()
        table[name] = {"dtype": _CODES[t.dtype], "shape": list(tensors[name].shape), "data_offsets": [at, at + size]}
        sums[name] = _crc(_bytes(t))
        at += size
    try:
        body = json.dumps(dict(json_), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadArgument("a value is not plain JSON", where=path, found=str(error)) from None
    meta = {"medframe": str(FORMAT), "kind": kind, "json": body, "crc32": json.dumps(sums, sort_keys=True)}
    meta["digest"] = _digest(meta, table)
    header = json.dumps({"__metadata__": meta, **table}, separators=(",", ":")).encode()
    header += b" " * (-(8 + len(header)) % _ALIGN)  # the payload starts aligned
    with atomic_write(path, overwrite=overwrite) as stream:
        stream.write(struct.pack("<Q", len(header)))
        stream.write(header)
        for t in flat.values():
            stream.write(_bytes(t))


def read_container(path: str | os.PathLike[str], kind: str, *, verify: bool = True) -> Container:
    """Open a file written by `write_container`.

    Args:
        path: the file.
        kind: the kind it must be of.
        verify: check the arrays' checksums, which reads every byte once. The header is always checked.

    Raises:
        BadFile: missing, truncated, or any checksum differs.
        Incompatible: another kind or a newer format version.
    """
    path = Path(path)
    meta, table, start, payload = _read_header(path)
    if meta.get("kind") != kind:
        raise Incompatible("the file is of another kind", where=path, found=meta.get("kind", "no kind"), due=kind)
    sums, told = _facts(meta, table, path)
    tensors: dict[str, Tensor] = {}
    # one mapping for all arrays: each mapping holds a file open. Mode "c" is private, so that torch gets writable
    # memory and the file still cannot change
    try:
        whole: NDArray[np.uint8] = np.asarray(np.memmap(path, np.uint8, "c"))
    except (OSError, ValueError) as error:
        raise BadFile("the file cannot be mapped", where=path, found=str(error), due="the file as it was") from None
    for name, entry in table.items():
        dtype = _DTYPES[entry["dtype"]]
        lo, hi = entry["data_offsets"]
        if hi == lo:
            tensors[name] = torch.empty(entry["shape"], dtype=dtype)
            continue
        if not 0 <= lo < hi <= payload:
            raise BadFile(
                f"array {name!r} is cut short",
                where=path,
                found=f"{payload} bytes of arrays",
                due=f"{hi} bytes",
                mend="Delete the file; a cache entry is rebuilt, for a checkpoint take the one before.",
            )
        raw = whole[start + lo : start + hi]
        if verify and _crc(memoryview(cast(Any, raw))) != sums[name]:
            raise BadFile(
                f"array {name!r} differs from its checksum",
                where=path,
                found="damaged bytes",
                due="the bytes that were written",
                mend="Delete the file; a cache entry is rebuilt, for a checkpoint take the one before.",
            )
        flat = torch.from_numpy(raw)
        if lo % dtype.itemsize or start % dtype.itemsize:
            flat = flat.clone()  # a view needs alignment
        tensors[name] = flat.view(dtype).reshape(entry["shape"])
    return Container(path, kind, told, tensors)


def _facts(meta: Mapping[str, str], table: Mapping[str, Any], path: Path) -> tuple[dict[str, int], dict[str, Any]]:
    # the arrays' checksums and our JSON; a digest proves no more than that header and digest were made together
    try:
        sums, told = json.loads(meta["crc32"]), json.loads(meta["json"])
        for name, entry in table.items():
            lo, hi = entry["data_offsets"]
            shape = entry["shape"]
            whole = all(type(n) is int and n >= 0 for n in (lo, hi, *shape)) and type(sums[name]) is int
            if not whole or math.prod(shape) * _DTYPES[entry["dtype"]].itemsize != hi - lo:
                raise ValueError
        if type(sums) is not dict or type(told) is not dict:
            raise ValueError
        return sums, told
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadFile(
            "the header contradicts itself",
            where=path,
            found="arrays without a checksum, or of other sizes than their shapes",
            due="a table of arrays as medframe writes it",
            mend="The file was not written by medframe; delete it, or take an older copy.",
        ) from None


def _read_header(path: Path) -> tuple[dict[str, str], dict[str, Any], int, int]:
    mend = "The file is damaged; delete it, or take an older copy."
    try:
        size = path.stat().st_size
        with open(path, "rb") as stream:
            lead = stream.read(8)
            length = struct.unpack("<Q", lead)[0] if len(lead) == 8 else 0
            if not 2 <= length <= min(size - 8, _MAX_HEADER):
                found = f"{size} bytes, header length {length}"
                raise BadFile(
                    "not a medframe file", where=path, found=found, due="a header that fits the file", mend=mend
                )
            header = json.loads(stream.read(length))
        meta = header.pop("__metadata__")
        known = int(meta["medframe"])
        if known > FORMAT:
            raise Incompatible(
                "the file is of a newer format", where=path, found=known, due=FORMAT, mend="Update medframe."
            )
        if meta.pop("digest") != _digest(meta, header):
            due = "the bytes that were written"
            raise BadFile("the header differs from its checksum", where=path, found="damaged bytes", due=due, mend=mend)
        return meta, header, 8 + length, size - 8 - length
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, BadFile | Incompatible):
            raise
        found = "no such file" if isinstance(error, FileNotFoundError) else f"{type(error).__name__} in its header"
        raise BadFile("the file cannot be opened", where=path, found=found, due="a medframe file", mend=mend) from None


def _digest(meta: Mapping[str, str], table: Mapping[str, Any]) -> str:
    kept = {k: v for k, v in meta.items() if k != "digest"}
    text = json.dumps([kept, table], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _bytes(flat: Tensor) -> memoryview:
    return memoryview(cast(Any, flat.view(torch.uint8).numpy())) if flat.numel() else memoryview(b"")


def _crc(data: memoryview) -> int:
    try:
        from isal import isal_zlib  # ten times faster, the same polynomial
    except ImportError:
        return zlib.crc32(data)
    return int(isal_zlib.crc32(data))
