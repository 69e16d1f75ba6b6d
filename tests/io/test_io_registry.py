"""One door for all formats."""

from pathlib import Path

import pytest
import torch

from medframe.base.errors import BadArgument, BadFile, MissingPackage
from medframe.base.extras import has
from medframe.image import Image, LabelMap
from medframe.io import FORMATS, Format, format_of, known_suffixes, read, registry, stem, write


def test_unknown_suffixes_are_named_with_what_is_known(tmp_path):
    for name in ("x.xyz", "noext", "nii", ".nii.xyz"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(BadFile, match=r"NIfTI \(\.nii, \.nii\.gz"):
            read(tmp_path / name)
    with pytest.raises(BadFile, match="format is unknown"):
        write(Image(torch.zeros(1, 2, 2, 2)), tmp_path / "x.xyz")


def test_what_others_read_is_said(tmp_path):
    for name, due in (
        ("x.mgz", "from_nibabel"),
        ("x.gipl.gz", "from_sitk"),
        ("X.MNC", "from_nibabel"),
        ("x.h5", "sitk"),
    ):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(BadFile, match=due):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "due"),
    [
        ("a.nii", "a"),
        ("a.nii.gz", "a"),
        ("scan.1.2.840.nii.gz", "scan.1.2.840"),
        ("A.NII.GZ", "A"),
        ("b/a.txt", "a"),
        ("a", "a"),
    ],
)
def test_stem(name, due):
    assert stem(name) == due


def test_every_format_is_complete():
    suffixes = [s for f in FORMATS for s in f.suffixes]
    assert len(suffixes) == len(set(suffixes))
    for known in FORMATS:
        module = registry._module(known, "test")
        assert callable(module.read)
        assert not known.writes or callable(module.write)
        assert all(s.startswith(".") and s == s.lower() for s in known.suffixes)
        assert known.package is None or has(known.package)
        assert format_of(Path("x" + known.suffixes[0]), folder=False) is known
        assert known.name in known_suffixes()


def test_the_longest_suffix_wins_and_a_missing_package_is_named(tmp_path, monkeypatch):
    other = Format("Other", (".gz",), "medframe.io.nifti", writes=False, package="surely_not_installed")
    monkeypatch.setattr(registry, "FORMATS", (*FORMATS, other))
    assert format_of(Path("x.nii.gz")).name == "NIfTI"
    assert format_of(Path("x.gz")).name == "Other"
    with pytest.raises(MissingPackage, match="surely_not_installed is needed to read Other files"):
        read(tmp_path / "x.gz")
    with pytest.raises(BadArgument, match="Other files are not written"):
        write(Image(torch.zeros(1, 2, 2, 2)), tmp_path / "x.gz")


def test_a_folder_goes_to_the_format_that_takes_folders(tmp_path, monkeypatch):
    assert format_of(tmp_path).name == "DICOM"
    monkeypatch.setattr(registry, "FORMATS", tuple(f for f in FORMATS if not f.folders))
    with pytest.raises(BadFile, match="a folder"):
        read(tmp_path)


def test_kinds(tmp_path):
    write(LabelMap(torch.ones(1, 2, 3, 4, dtype=torch.uint8)), tmp_path / "x.nii")
    assert type(read(tmp_path / "x.nii")) is Image
    assert type(read(str(tmp_path / "x.nii"), kind=LabelMap)) is LabelMap
    assert read(tmp_path / "x.nii", LabelMap).interpolation.order == 0


def test_pairs(tmp_path, corpus):
    folder, _ = corpus
    by_header, by_voxels = read(folder / "nifti/pair.hdr"), read(folder / "nifti/pair.img")
    assert torch.equal(by_header.data, by_voxels.data)
    assert by_header.space == by_voxels.space
    (tmp_path / "x.nii").write_bytes((folder / "nifti/pair.hdr").read_bytes())
    with pytest.raises(BadFile, match="belongs to a pair"):
        read(tmp_path / "x.nii")
    (tmp_path / "y.hdr").write_bytes((folder / "nifti/ok.nii").read_bytes())
    with pytest.raises(BadFile, match="belongs to a single file"):
        read(tmp_path / "y.hdr")
