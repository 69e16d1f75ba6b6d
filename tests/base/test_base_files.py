"""A final name never holds half a file, whatever fails."""

import json
import os
import subprocess
import sys

import pytest
import torch

from medframe.base import BadArgument, BadFile, Incompatible, TooLarge, WriteFailed
from medframe.base import files as files_module
from medframe.base.container import read_container, write_container
from medframe.base.files import append_line, atomic_write, sweep, write_json, write_text
from medframe.base.sizes import check_size, set_image_limit


def test_writes_whole_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b" / "ü c.txt"
    write_text(path, "hällo")
    assert path.read_text(encoding="utf-8") == "hällo"
    assert [p.name for p in path.parent.iterdir()] == ["ü c.txt"]


def test_an_error_inside_the_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    write_text(path, "old")

    def half() -> None:
        with atomic_write(path) as stream:
            stream.write(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        half()
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["open", "fsync", "replace"])
def test_every_step_that_fails_leaves_the_old_file_and_one_clear_error(tmp_path, monkeypatch, name):
    path = tmp_path / "x"
    write_text(path, "old")

    def full(*_args, **_kwargs):
        raise OSError(28, os.strerror(28))

    if name == "open":
        monkeypatch.setattr(files_module, "open", full, raising=False)
    else:
        monkeypatch.setattr(files_module.os, name, full)
    with pytest.raises(WriteFailed, match="No space left"):
        write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_really_full_disk(tmp_path):
    # a file size limit is the one full disk that every machine has
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "from medframe.base.files import write_bytes; from medframe.base import WriteFailed\n"
        "try: write_bytes(sys.argv[1], b'x' * 100000)\n"
        "except WriteFailed as error: print('refused:', error.found)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused: File too large")
    assert list(tmp_path.iterdir()) == []


def test_a_taken_name_is_refused_unless_asked(tmp_path):
    path = tmp_path / "x"
    write_text(path, "old")
    with pytest.raises(WriteFailed, match="exists"):
        write_text(path, "new", overwrite=False)
    assert path.read_text() == "old"


def test_sweep_takes_files_of_dead_writers_only(tmp_path):
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    pid, host = int(done.stdout), files_module._host()
    names = {
        "dead": f".medframe-part-{pid}-{host}-00ff-x",
        "alive": f".medframe-part-{os.getpid()}-{host}-00ff-x",
        "elsewhere": f".medframe-part-{pid}-01234567-00ff-x",
        "elsewhere and old": f".medframe-part-{pid}-01234567-11ff-x",
    }
    for name in names.values():
        (tmp_path / name).touch()
    os.utime(tmp_path / names["elsewhere and old"], (1e9, 1e9))
    folder = tmp_path / f".medframe-part-{pid}-{host}-22ff-x"
    (folder / "sub").mkdir(parents=True)
    assert sweep(tmp_path) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([names["alive"], names["elsewhere"]])


def test_temporary_names_tell_process_and_machine(tmp_path):
    with atomic_write(tmp_path / "x") as stream:
        stream.write(b"1")
        (part,) = tmp_path.iterdir()
        assert part.name.startswith(f".medframe-part-{os.getpid()}-{files_module._host()}-")
        assert sweep(tmp_path) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_json_refuses_nan_and_logs_append(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()
    append_line(tmp_path / "log", "one")
    append_line(tmp_path / "log", "two\n")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
DTYPES += [torch.int8, torch.uint8, torch.bool, torch.uint16, torch.uint32]


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "x.safetensors"
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"t{i}": (torch.rand((3, 5, i % 3 + 1), generator=generator) * 100).to(dtype) for i, dtype in enumerate(DTYPES)
    }
    tensors |= {"scalar": torch.tensor(7), "empty": torch.zeros(0, 4)}
    write_container(path, "cache", tensors, {"name": "ü", "list": [1, None, True]})
    return path, tensors


def test_container_round_trip_and_any_safetensors_reader_opens_it(stored):
    path, tensors = stored
    opened = read_container(path, "cache")
    assert opened.json == {"name": "ü", "list": [1, None, True]}
    from safetensors.torch import load_file

    foreign = load_file(path)
    assert set(opened.tensors) == set(tensors) == set(foreign)
    for name, tensor in tensors.items():
        assert opened.tensors[name].dtype == tensor.dtype
        assert torch.equal(opened.tensors[name], tensor)
        assert torch.equal(foreign[name], tensor)


def test_container_serves_no_damaged_byte(stored, tmp_path):
    path, _ = stored
    raw = bytearray(path.read_bytes())
    other = tmp_path / "damaged"
    for i in range(0, len(raw), 3):
        raw[i] ^= 0x10
        other.write_bytes(raw)
        raw[i] ^= 0x10
        with pytest.raises((BadFile, Incompatible)):
            read_container(other, "cache")


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_container_refuses_truncated_files(stored, tmp_path, keep):
    raw = stored[0].read_bytes()
    other = tmp_path / "short"
    other.write_bytes(raw[:keep])
    with pytest.raises(BadFile):
        read_container(other, "cache")


def test_a_container_holds_one_file_open(stored):
    before = len(os.listdir("/proc/self/fd"))
    opened = read_container(stored[0], "cache")
    assert len(opened.tensors) > 10
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_a_small_file_that_claims_terabytes_is_told_what_it_holds():
    with pytest.raises(TooLarge, match=r"found 2000 bytes of voxels") as caught:
        check_size((1 << 20, 1 << 20, 8), 4, where="x.nii", available=2000)
    assert "set_image_limit" not in str(caught.value)


def test_container_of_another_kind_or_missing(stored, tmp_path):
    with pytest.raises(Incompatible, match="cache"):
        read_container(stored[0], "checkpoint")
    with pytest.raises(BadFile, match="no such file"):
        read_container(tmp_path / "nothing", "cache")


def test_a_container_is_mapped_privately(stored):
    path, _ = stored
    before = path.read_bytes()
    tensor = read_container(path, "cache").tensors["t1"]
    tensor.fill_(3.0)
    assert path.read_bytes() == before


def test_a_value_that_is_no_json_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(BadArgument, match="JSON"):
        write_container(tmp_path / "x", "cache", {}, {"a": object()})
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_checked_before_allocation():
    assert check_size((2, 3), 4, where="x", available=24) == 24
    with pytest.raises(TooLarge, match="23 bytes"):
        check_size((2, 3), 4, where="x", available=23)
    with pytest.raises(TooLarge, match="limit"):
        check_size((2**20, 2**20, 2**20), 8, where="x")
    with pytest.raises(TooLarge, match="positive"):
        check_size((2, -3), 4, where="x")
    with pytest.raises(BadArgument):
        set_image_limit(0)


def test_the_limit_can_be_set(monkeypatch):
    monkeypatch.setenv("MEDFRAME_IMAGE_LIMIT", "10")
    with pytest.raises(TooLarge):
        check_size((11,), 1, where="x")


def test_write_failures_name_the_file_but_not_the_folder_above(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(WriteFailed) as caught:
        write_text(blocked / "x", "text")
    assert caught.value.where is not None
    assert json.dumps(caught.value.where)
