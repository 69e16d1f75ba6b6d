"""Archives are unpacked whole and inside their folder, or not at all."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medframe.base import BadDataset, BadFile, TooLarge, WriteFailed
from medframe.base.archives import ArchiveLimits, extract
from medframe.base.files import atomic_folder
from medframe.base.paths import inside

SMALL = ArchiveLimits(bytes_=1 << 20, members=50, ratio=100, depth=5)
GOOD = {"a.txt": b"one", "b/c.txt": b"two" * 1000, "b/d/ü e.txt": b""}


def zipped(path, entries, compression=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, bytes); names are written as they are."""
    with zipfile.ZipFile(path, "w", compression) as out:
        for name, data in entries:
            out.writestr(name, data)
    return path


def tarred(path, members, packer=None):
    """A tar of (TarInfo or name, bytes)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as out:
        for info, data in members:
            made = tarfile.TarInfo(info) if isinstance(info, str) else info
            made.size = len(data) if made.isreg() else 0
            out.addfile(made, io.BytesIO(data))
    path.write_bytes((packer or bytes)(stream.getvalue()))
    return path


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def linked(name, target):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


def snapshot(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("kind", ["zip", "stored", "tar", "gz", "bz2", "xz"])
def test_good_archives_come_out_whole(tmp_path, kind):
    path = tmp_path / "archive"  # no suffix: the content tells
    if kind in ("zip", "stored"):
        zipped(path, [("b/", b""), *GOOD.items()], zipfile.ZIP_DEFLATED if kind == "zip" else zipfile.ZIP_STORED)
    else:
        packer = {"tar": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind]
        folders = [(member("./", tarfile.DIRTYPE), b""), (member("./b", tarfile.DIRTYPE), b"")]
        tarred(path, [*folders, *((f"./{name}", data) for name, data in GOOD.items())], packer)
    out = tmp_path / "new" / "out"
    files = extract(path, out)
    assert files == sorted(out / name for name in GOOD)
    assert {p.relative_to(out).as_posix(): p.read_bytes() for p in files} == GOOD
    assert [p.name for p in out.parent.iterdir()] == ["out"]
    assert all(stat.S_IMODE(p.stat().st_mode) & 0o111 == 0 for p in files)


NAMES = {
    "upward": "../x",
    "upward inside": "a/../../x",
    "absolute": "/tmp/medframe-evil",
    "drive": "C:/x",
    "backslash": "..\\x",
    "zero byte": "a\0b",
    "newline": "a\nb",
    "empty part": "a//b",
    "dots": "a/.../b",
    "space at the end": "a ",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_are_refused(tmp_path, kind, name):
    evil = NAMES[name]
    path = tmp_path / "archive"
    if kind == "zip":
        info = zipfile.ZipInfo("placeholder")
        info.filename = info.orig_filename = evil  # the constructor would mend it
        zipped(path, [("good", b"x"), (info, b"evil")])
    else:
        if "\0" in evil:
            pytest.skip("a tar's name ends at a zero byte")
        tarred(path, [("good", b"x"), (evil, b"evil")])
    before = snapshot(tmp_path)
    with pytest.raises(BadFile, match="refused"):
        extract(path, tmp_path / "out")
    assert snapshot(tmp_path) == before
    assert not Path("/tmp/medframe-evil").exists()


KINDS = {
    "symlink": [(member("l", tarfile.SYMTYPE, "/etc/passwd"), b"")],
    "symlink then file through it": [(member("l", tarfile.SYMTYPE, ".."), b""), ("l/x", b"evil")],
    "hard link": [(member("l", tarfile.LNKTYPE, "/etc/passwd"), b"")],
    "device": [(member("d", tarfile.CHRTYPE), b"")],
    "block device": [(member("d", tarfile.BLKTYPE), b"")],
    "pipe": [(member("p", tarfile.FIFOTYPE), b"")],
    "sparse": [(member("s", tarfile.GNUTYPE_SPARSE), b"")],
    "doubled": [("x", b"1"), ("x", b"2")],
    "capitals": [("x", b"1"), ("X", b"2")],
    "dot at the end": [("x", b"1"), ("x.", b"2")],
    "file and folder": [("x", b"1"), ("x/y", b"2")],
    "deep": [("/".join("abcdefg"), b"1")],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_are_no_files_are_refused(tmp_path, kind):
    path = tarred(tmp_path / "a.tar", KINDS[kind])
    before = snapshot(tmp_path)
    with pytest.raises(BadFile) as caught:
        extract(path, tmp_path / "out", SMALL)
    assert "a.tar" in str(caught.value)
    assert snapshot(tmp_path) == before


def test_zip_links_doubles_and_encryption(tmp_path):
    for entries in ([linked("l", "/etc")], [("x", b"1"), ("X", b"2")], [("x", b"1"), ("x/", b"")]):
        with pytest.raises(BadFile):
            extract(zipped(tmp_path / "a.zip", entries), tmp_path / "out")
    raw = bytearray(zipped(tmp_path / "a.zip", [("x", b"1" * 99)]).read_bytes())
    raw[raw.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(BadFile, match="encrypted"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "gz", "xz"])
def test_bombs_are_refused_before_a_byte_is_written(tmp_path, kind):
    path, data = tmp_path / "bomb", bytes(3 << 20)
    if kind == "zip":
        zipped(path, [("x", data)])
    else:
        tarred(path, [("x", data)], gzip.compress if kind == "gz" else lzma.compress)
    with pytest.raises(TooLarge, match="bytes_"):
        extract(path, tmp_path / "out", SMALL)
    many = zipped(tmp_path / "many", [(f"f{k}", b"") for k in range(51)])
    with pytest.raises(TooLarge, match="members"):
        extract(many, tmp_path / "out", SMALL)
    with pytest.raises(TooLarge, match="members"):
        extract(tarred(tmp_path / "many", [(f"f{k}", b"") for k in range(51)]), tmp_path / "out", SMALL)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bomb", "many"]


def test_a_ratio_is_asked_for_beyond_the_free_bytes(tmp_path):
    path = zipped(tmp_path / "a.zip", [("x", bytes(101 << 20))])
    with pytest.raises(TooLarge, match="ratio"):
        extract(path, tmp_path / "out", ArchiveLimits(ratio=500))


def test_a_list_that_lies_is_found_out(tmp_path):
    path = zipped(tmp_path / "a.zip", [("x", b"a" * 5000)])
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\1\2")
    raw[at + 24 : at + 28] = (100).to_bytes(4, "little")  # unpacked size, in the list alone
    path.write_bytes(raw)
    with pytest.raises(BadFile):
        extract(path, tmp_path / "out")
    # two members that share their bytes, as in bombs that need no nesting (Fifield, WOOT 2019)
    path = zipped(tmp_path / "b.zip", [("x", b"a" * 500), ("y", b"a" * 500)], zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    second = raw.index(b"PK\1\2", raw.index(b"PK\1\2") + 4)
    raw[second + 42 : second + 46] = (10).to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(BadFile, match="over each other"):
        extract(path, tmp_path / "out")
    # a header of a tar that asks for gigabytes
    info = member("././@LongLink", b"L")
    info.size = 2 << 30
    (tmp_path / "c.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(BadFile, match="too long"):
        extract(tmp_path / "c.tar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "gz", "tar"])
def test_damage_never_leaves_anything(tmp_path, kind):
    path = tmp_path / "archive"
    chance = np.random.default_rng(3)
    content = [(f"f{k}", chance.bytes(400)) for k in range(5)]
    zipped(path, content) if kind == "zip" else tarred(path, content, gzip.compress if kind == "gz" else None)
    whole = path.read_bytes()
    refused = 0
    for k in range(60):
        raw = bytearray(whole)
        if k % 2:
            raw = raw[: chance.integers(0, len(raw))]
        else:
            raw[chance.integers(0, len(raw))] ^= 1 << chance.integers(0, 8)
        path.write_bytes(raw)
        out = tmp_path / f"out{k}"
        try:
            extract(path, out)
        except (BadFile, TooLarge):
            refused += 1
            assert not out.exists()
        else:  # a tar has no checksum of its members' bytes, but none may be lost
            assert len(list(out.iterdir())) == 5
    assert refused > 25 or kind == "tar"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4", b"\x1f\x8b\x08", os.urandom(2000)])
def test_what_is_no_archive_is_said(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BadFile):
        extract(tmp_path / "a.zip", tmp_path / "out")
    with pytest.raises(BadFile, match="no such archive"):
        extract(tmp_path / "absent", tmp_path / "out")


def test_a_folder_that_is_taken_stays(tmp_path):
    path = zipped(tmp_path / "a.zip", GOOD.items())
    (tmp_path / "out").mkdir()
    extract(path, tmp_path / "out")  # empty: nothing is lost
    before = snapshot(tmp_path)
    with pytest.raises(WriteFailed, match="exists"):
        extract(path, tmp_path / "out")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WriteFailed):
        extract(path, tmp_path / "link")
    (tmp_path / "link").unlink()
    assert snapshot(tmp_path) == before


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def fail():
        with atomic_folder(tmp_path / "x") as part:
            (part / "half").write_text("half")
            assert not (tmp_path / "x").exists()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_inside_keeps_to_its_folder(tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "out").symlink_to(tmp_path)
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data" / "loop")
    root = tmp_path / "data"
    assert inside(root, "sub/../a.raw") == root / "a.raw"
    assert inside(root, " a b.raw ") == root / "a b.raw"
    assert inside(root, str(root / "a.raw")) == root / "a.raw"
    assert inside(root, "../other/a", roots=[tmp_path / "other"]) == tmp_path / "other" / "a"
    for name in ("../a", "out/a", "/etc/passwd", "sub/../../a", "", "a\0", 3, None, "a\ud800"):
        with pytest.raises(BadFile):
            inside(root, name)
    with pytest.raises(BadDataset, match=r"list\.json.*leads out"):
        inside(root, "../a", where="list.json", error=BadDataset)
