"""DICOM segmentations: real ones equal their NRRD twins, ours are read by highdicom, frames go where they belong."""

import pickle
import shutil
import sys
import warnings

import numpy as np
import pydicom
import pytest
import torch
from dicom_source import edit, write_multiframe, write_series

from medframe.base.errors import (
    BadArgument,
    BadFile,
    BadGeometry,
    BadLabel,
    MedframeError,
    MissingPackage,
    TooLarge,
    WriteFailed,
)
from medframe.geometry import Space
from medframe.image import Image, LabelMap
from medframe.io import read, write
from medframe.io.dicom import Code, Region
from medframe.io.dicom.organ_codes import code_of, known_names

hd = pytest.importorskip("highdicom")
NAMES = ["liver", "kidney_left", "tumor"]


@pytest.fixture
def lattice(rng):
    """A lattice as DICOM gives them; sheared as a tilted gantry shears it, on demand."""

    def draw(shape, tilt=0.0):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turn[:, 2] = np.cross(turn[:, 0], turn[:, 1])
        affine = np.eye(4)
        affine[:3, :3] = turn * rng.uniform(0.5, 4, 3)
        affine[:3, 2] += tilt * affine[:3, 1]
        affine[:3, 3] = rng.uniform(-200, 200, 3)
        return Space(shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)

    return draw


@pytest.fixture
def labels(rng):
    def draw(space, most=3):
        voxels = (rng.random(space.shape) < 0.4) * rng.integers(1, most + 1, space.shape)
        voxels[..., 1] = 0  # a slice without frames
        return LabelMap(torch.from_numpy(voxels[None].astype(np.uint8)), space=space)

    return draw


@pytest.fixture
def twins(data_folder):
    return data_folder / "dicom_seg"


def nrrd(path):
    return read(path, LabelMap)


# real files


def test_a_real_segmentation_equals_its_nrrd_twin(twins):
    folder = twins / "ct-3slice"
    due = nrrd(folder / "liver_seg.nrrd")
    label = read(folder / "liver.dcm", LabelMap)
    assert label.space.matches(due.space, 1e-3)
    assert torch.equal(label.data, due.data)
    assert label.data.sum((0, 1, 2)).tolist() == [36233, 35645, 35220]
    assert label.meta["labels"] == {"1": "Liver"}
    assert label.meta["segments"][0]["type"] == {"value": "T-62000", "scheme": "SRT", "meaning": "Liver"}
    # in the file the frames do not lie in the order of their positions
    heights = [
        float(f.PlanePositionSequence[0].ImagePositionPatient[2])
        for f in pydicom.dcmread(folder / "liver.dcm").PerFrameFunctionalGroupsSequence
    ]
    image = read(folder / "image")
    assert torch.equal(read(folder / "liver.dcm", LabelMap, reference=image).data, due.data)
    onto = read(folder / "liver.dcm", LabelMap, reference=folder / "image")
    assert torch.equal(onto.data, due.data)
    assert onto.space == image.space
    assert len(heights) == 3


@pytest.mark.parametrize("reference", [None, "image", "multiframe/mf.dcm", "nrrd/label.nrrd"])
def test_the_small_real_segmentation(twins, reference):
    folder = twins / "23x38x3"
    options = {} if reference is None else {"reference": folder / reference}
    label = read(folder / "seg", LabelMap, **options)  # a folder with nothing but the file
    due = nrrd(folder / "nrrd" / "label.nrrd")
    assert label.space.matches(due.space, 1e-3)
    assert torch.equal(label.data, due.data)
    assert label.data.sum((0, 1, 2)).tolist() == [4, 314, 4]


def test_a_real_series_is_segmented_anew(tmp_path, twins):
    folder = twins / "ct-3slice"
    both = nrrd(folder / "liver_spine_seg.nrrd")
    write(both, tmp_path / "seg.dcm", source=folder / "image", segments=["Liver", "Spine"])
    back = read(tmp_path / "seg.dcm", LabelMap)
    assert torch.equal(back.data, both.data)
    write(both, tmp_path / "rs.dcm", source=folder / "image", segments=["Liver", "Spine"], content="structures")
    assert torch.equal(read(tmp_path / "rs.dcm", LabelMap, reference=folder / "image").data, both.data)


def test_a_real_tilted_series(tmp_path, data_folder, rng):
    folder = data_folder / "dicom_series" / "ct_ge_gantry_tilt" / "dicom"
    space = read(folder).space
    voxels = torch.from_numpy((rng.random((1, *space.shape)) < 0.5).astype(np.uint8))
    label = LabelMap(voxels, space=space)
    write(label, tmp_path / "seg.dcm", source=folder, segments=["brain"])
    assert torch.equal(read(tmp_path / "seg.dcm", LabelMap, reference=folder).data, voxels)
    assert torch.equal(read(tmp_path / "seg.dcm", LabelMap).data, voxels)


# round trips


@pytest.mark.parametrize("encoding", ["binary", "labelmap"])
@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_labels_come_back_as_they_were(tmp_path, lattice, labels, encoding, tilt):
    space = lattice((11, 9, 6), tilt)
    label = labels(space)
    folder = write_series(tmp_path / "ct", space)
    path = tmp_path / "seg.dcm"
    write(label, path, source=folder, segments=NAMES, encoding=encoding)
    back = read(path, LabelMap, reference=folder)
    assert torch.equal(back.data, label.data)
    assert back.space.matches(space, 1e-4)
    assert back.meta["labels"] == {"1": "liver", "2": "kidney_left", "3": "tumor"}
    # the empty slice lies between slices with frames, so the smallest lattice is the same
    alone = read(path, LabelMap)
    assert alone.space.matches(space, 1e-3)
    assert torch.equal(alone.data, label.data)
    if encoding == "binary":
        assert "1 slices between the frames have none" in alone.meta["notes"][0]
    turned = space.reoriented("SAR")
    assert torch.equal(read(path, LabelMap, reference=turned).data, label.to_space(turned).data)
    picked = read(path, LabelMap, reference=folder, segments=["tumor", 1])
    assert np.array_equal(picked.data.numpy(), np.select([label.data == 3, label.data == 1], [1, 2], 0))
    channels = read(path, reference=folder)
    assert torch.equal(channels.data, torch.cat([label.data == k for k in (1, 2, 3)]).to(torch.uint8))


@pytest.mark.parametrize("encoding", ["binary", "labelmap"])
def test_highdicom_reads_the_same_labels(tmp_path, lattice, labels, encoding):
    space = lattice((11, 9, 6))
    label = labels(space)
    folder = write_series(tmp_path / "ct", space)
    write(label, tmp_path / "seg.dcm", source=folder, segments=NAMES, encoding=encoding)
    found = hd.seg.segread(tmp_path / "seg.dcm")
    volume = found.get_volume(combine_segments=True)
    there = Space(volume.array.shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine)
    theirs = LabelMap(torch.from_numpy(volume.array[None].astype(np.uint8)), space=there)
    assert torch.equal(theirs.to_space(space).data, label.data)
    first = pydicom.dcmread(next(folder.iterdir()))
    assert found.PatientID == first.PatientID
    assert found.StudyInstanceUID == first.StudyInstanceUID
    assert found.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert {str(uid) for _, _, uid in found.get_source_image_uids()} <= {
        pydicom.dcmread(p).SOPInstanceUID for p in folder.iterdir()
    }
    kidney = found.get_segment_description(2)
    assert kidney.segmented_property_type.value == "64033007"
    side = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert side.CodeValue == "7771000"
    assert kidney.algorithm_type.value == "AUTOMATIC"
    assert kidney.algorithm_identification.name == "medframe"


def test_every_frame_refers_to_the_image_it_lies_on(tmp_path, lattice, labels):
    space = lattice((8, 7, 5))
    folder = write_series(tmp_path / "ct", space)
    write(labels(space), tmp_path / "seg.dcm", source=folder, segments=NAMES)
    sources = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, folder.iterdir())}
    frames = pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence
    for frame in frames:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        position = sources[source.ReferencedSOPInstanceUID].ImagePositionPatient
        assert np.allclose(frame.PlanePositionSequence[0].ImagePositionPatient, position, atol=1e-4)
    assert len(frames) == 3 * 4


def test_a_series_in_one_file(tmp_path, lattice, labels):
    space = lattice((9, 8, 5))
    source = write_multiframe(tmp_path / "mf.dcm", space, [3, 0, 4, 1, 2])
    label = labels(space)
    write(label, tmp_path / "seg.dcm", source=source, segments=NAMES)
    assert torch.equal(read(tmp_path / "seg.dcm", LabelMap, reference=source).data, label.data)
    assert torch.equal(read(tmp_path / "seg.dcm", LabelMap).data, label.data)


def test_a_turned_label_map_is_put_back(tmp_path, lattice, labels):
    space = lattice((8, 7, 5))
    label = labels(space)
    folder = write_series(tmp_path / "ct", space)
    write(label.to_space(space.reoriented("SAR")), tmp_path / "seg.dcm", source=folder, segments=NAMES)
    assert torch.equal(read(tmp_path / "seg.dcm", LabelMap, reference=folder).data, label.data)


def test_names_are_taken_from_what_was_read(tmp_path, lattice, labels):
    space = lattice((8, 7, 5))
    folder = write_series(tmp_path / "ct", space)
    write(labels(space), tmp_path / "a.dcm", source=folder, segments=NAMES)
    write(read(tmp_path / "a.dcm", LabelMap, reference=folder), tmp_path / "b.dcm", source=folder)
    again = read(tmp_path / "b.dcm", LabelMap, reference=folder)
    assert again.meta["labels"] == {"1": "liver", "2": "kidney_left", "3": "tumor"}


def test_labels_with_gaps_need_the_label_map_class(tmp_path, lattice):
    space = lattice((6, 5, 4))
    voxels = torch.zeros(1, *space.shape, dtype=torch.int32)
    voxels[0, 2, 2, 1:3] = 700
    voxels[0, 3, 2, 1] = 2
    label = LabelMap(voxels, space=space)
    folder = write_series(tmp_path / "ct", space)
    names = {2: "liver", 700: "spleen"}
    with pytest.raises(BadLabel, match=r"without gaps.*labels \[2, 700\].*labelmap"):
        write(label, tmp_path / "seg.dcm", source=folder, segments=names)
    assert not (tmp_path / "seg.dcm").exists()
    write(label, tmp_path / "seg.dcm", source=folder, segments=names, encoding="labelmap")
    back = read(tmp_path / "seg.dcm", LabelMap, reference=folder)
    assert torch.equal(back.data, voxels)
    assert back.meta["labels"] == {"2": "liver", "700": "spleen"}


@pytest.mark.parametrize("encoding", ["binary", "labelmap"])
def test_an_empty_label_map_is_a_finding_too(tmp_path, lattice, encoding):
    space = lattice((6, 5, 4))
    folder = write_series(tmp_path / "ct", space)
    label = LabelMap(torch.zeros(1, *space.shape, dtype=torch.uint8), space=space)
    write(label, tmp_path / "seg.dcm", source=folder, segments=["tumor"], encoding=encoding)
    assert read(tmp_path / "seg.dcm", LabelMap, reference=folder).data.sum() == 0


# what others write


def theirs(folder, frames, kind, path, names=("a", "b"), **options):
    """A segmentation by highdicom; frames (slices, rows, columns[, segments])."""
    sources = sorted((pydicom.dcmread(p) for p in folder.iterdir()), key=lambda d: int(d.InstanceNumber))
    described = [
        hd.seg.SegmentDescription(
            number,
            name,
            pydicom.sr.codedict.codes.SCT.Organ,
            pydicom.sr.codedict.codes.SCT.Liver,
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(names, 1)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = hd.seg.Segmentation(
            sources, frames, kind, described, hd.UID(), 1, hd.UID(), 1, "x", "x", "1", "0", **options
        )
        made.save_as(path)
    return path


SYNTAXES = {
    "native": "1.2.840.10008.1.2.1",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
}


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_fractions_are_probabilities(tmp_path, lattice, rng, syntax):
    if syntax == "JPEG 2000":
        pytest.importorskip("pylibjpeg", reason="pydicom writes JPEG 2000 through pylibjpeg alone")
    space = lattice((40, 36, 3))
    folder = write_series(tmp_path / "ct", space)
    k, j, i, s = np.meshgrid(*map(np.arange, (3, 36, 40, 2)), indexing="ij")
    fractions = (k * 7 + j + 2 * i + s * 50 + rng.integers(0, 3, k.shape)) % 100 / 200
    path = theirs(
        folder, fractions, "FRACTIONAL", tmp_path / "f.dcm", max_fractional_value=200,
        transfer_syntax_uid=SYNTAXES[syntax],
    )  # fmt: skip
    image = read(path, reference=folder)
    assert image.dtype == torch.float32
    assert np.allclose(image.data.numpy(), fractions.transpose(3, 2, 1, 0), atol=1e-7)
    assert image.meta["labels"] == {"0/1": "a", "1/1": "b"}
    with pytest.raises(BadLabel, match=r"FRACTIONAL.*threshold=0\.5"):
        read(path, LabelMap, reference=folder)
    first = read(path, LabelMap, reference=folder, threshold=0.25, segments=["a"])
    assert np.array_equal(first.data[0].numpy(), fractions[..., 0].T >= 0.25)
    for wrong in (0, 1.5, -1):
        with pytest.raises(BadArgument, match="threshold"):
            read(path, LabelMap, threshold=wrong)


def test_compressed_frames_are_checked_before_they_are_decoded(tmp_path, lattice, rng):
    space = lattice((40, 36, 3))
    folder = write_series(tmp_path / "ct", space)
    fractions = rng.integers(0, 2, (3, 36, 40, 1)).astype(float)
    path = theirs(folder, fractions, "FRACTIONAL", tmp_path / "f.dcm", ("a",), transfer_syntax_uid=SYNTAXES["RLE"])
    data = path.read_bytes()
    edit(path, lambda d: setattr(d, "Rows", 37))
    with pytest.raises(MedframeError):
        _ = read(path).data
    path.write_bytes(data)
    edit(path, lambda d: (setattr(d, "Rows", 60000), setattr(d, "Columns", 60000)))
    with pytest.raises(TooLarge):
        _ = read(path).data


def test_overlapping_segments(tmp_path, lattice, rng):
    space = lattice((9, 8, 5))
    folder = write_series(tmp_path / "ct", space)
    masks = (rng.random((5, 8, 9, 2)) < 0.5).astype(np.uint8)
    path = theirs(folder, masks, "BINARY", tmp_path / "o.dcm", names=("Vessel", "Lesion"))
    count = int((masks[..., 0] & masks[..., 1]).sum())
    label = read(path, LabelMap, reference=folder)
    with pytest.raises(BadLabel, match=rf"Vessel and Lesion in {count} voxels.*overlap=.channels"):
        _ = label.data
    both = read(path, LabelMap, reference=folder, overlap="channels")
    assert np.array_equal(both.data.numpy(), masks.transpose(3, 2, 1, 0))
    assert both.meta["labels"] == {"0/1": "Vessel", "1/1": "Lesion"}
    segments = [Region("Vessel", Code("59820001", "SCT", "Blood vessel")), "lesion"]
    write(both, tmp_path / "again.dcm", source=folder, segments=segments)
    again = read(tmp_path / "again.dcm", LabelMap, reference=folder, overlap="channels")
    assert torch.equal(again.data, both.data)
    with pytest.raises(BadArgument, match="overlap"):
        read(path, LabelMap, overlap="last")
    with pytest.raises(BadLabel, match=r"no such region.*1: Vessel; 2: Lesion"):
        read(path, LabelMap, segments=["Bone"])


def test_a_binary_segmentation_of_odd_size(tmp_path, rng):
    # 7 x 5 pixels: frames do not begin at whole bytes
    space = Space((7, 5, 9), np.diag([-0.5, -0.7, 2.0, 1.0]))
    label = LabelMap(torch.from_numpy(rng.integers(0, 2, (1, 7, 5, 9)).astype(np.uint8)), space=space)
    folder = write_series(tmp_path / "ct", space)
    write(label, tmp_path / "seg.dcm", source=folder, segments=["liver"])
    assert torch.equal(read(tmp_path / "seg.dcm", LabelMap).data, label.data)


@pytest.mark.parametrize("stated", [True, False])
def test_sparse_frames_are_placed_by_position(tmp_path, stated):
    space = Space((6, 5, 12), np.diag([-1.0, -1.0, 2.0, 1.0]))
    voxels = torch.zeros(1, *space.shape, dtype=torch.uint8)
    for k in (2, 5, 7):
        voxels[0, 1:4, 1 : 2 + k // 2, k] = 1
    folder = write_series(tmp_path / "ct", space)
    write(LabelMap(voxels, space=space), tmp_path / "seg.dcm", source=folder, segments=["liver"])

    def shuffle(dataset):
        frames = list(dataset.PerFrameFunctionalGroupsSequence)
        pixels = dataset.pixel_array[[2, 0, 1]]
        dataset.PerFrameFunctionalGroupsSequence = [frames[k] for k in (2, 0, 1)]
        dataset.PixelData = pydicom.pixels.pack_bits(pixels)
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = "2.0"
        if not stated:  # the slices are 2 mm apart, the frames 6 and 4: their gaps alone tell so
            del measures.SpacingBetweenSlices
            measures.SliceThickness = "5.0"

    edit(tmp_path / "seg.dcm", shuffle)
    label = read(tmp_path / "seg.dcm", LabelMap)
    assert label.space == space.window((0, 0, 2), (6, 5, 6))
    assert torch.equal(label.data, voxels[..., 2:8])
    assert "3 slices between" in label.meta["notes"][0]
    assert torch.equal(read(tmp_path / "seg.dcm", LabelMap, reference=folder).data, voxels)


@pytest.fixture
def segmented(tmp_path, rng):
    space = Space((8, 7, 5), np.diag([-1.0, -1.5, 2.0, 1.0]))
    label = LabelMap(torch.from_numpy(rng.integers(0, 3, (1, *space.shape)).astype(np.uint8)), space=space)
    folder = write_series(tmp_path / "ct", space)
    write(label, tmp_path / "seg.dcm", source=folder, segments=["liver", "spleen"])
    return label, tmp_path / "seg.dcm", folder


def test_lattices_that_do_not_fit(segmented):
    label, path, _ = segmented
    finer = label.space.with_spacing((0.5, 0.5, 2.0))
    with pytest.raises(BadGeometry, match=r"do not lie on the lattice.*to_space"):
        read(path, LabelMap, reference=finer)
    shifted = label.space.window((0.5, 0, 0), label.space.shape)
    with pytest.raises(BadGeometry, match=r"0\.5 voxels off"):
        read(path, LabelMap, reference=shifted)
    cropped = label.space.window((2, 1, 1), (4, 9, 3))
    with pytest.raises(BadGeometry, match=r"10 of 10 frames.*clip=True"):
        read(path, LabelMap, reference=cropped)
    assert torch.equal(read(path, LabelMap, reference=cropped, clip=True).data, label.to_space(cropped).data)
    larger = label.space.window((-2, -1, -3), (12, 12, 12))
    assert torch.equal(read(path, LabelMap, reference=larger).data, label.to_space(larger).data)
    # through the smallest lattice any lattice can be reached
    assert torch.equal(read(path, LabelMap).to_space(finer).data, label.to_space(finer).data)


def test_another_frame_of_reference(tmp_path, segmented):
    label, path, _ = segmented
    other = write_series(tmp_path / "other", label.space)
    with pytest.raises(BadGeometry, match="frames of reference"):
        read(path, LabelMap, reference=other)


def _frame(keyword, inner, value):
    def change(dataset):
        setattr(getattr(dataset.PerFrameFunctionalGroupsSequence[0], keyword)[0], inner, value)

    return change


FAULTS = {
    "of no type": (lambda d: setattr(d, "SegmentationType", "CANARY"), BadFile, "SegmentationType"),
    "bits of another type": (lambda d: setattr(d, "BitsAllocated", 8), BadFile, "8; expected 1 for BINARY"),
    "no segments": (lambda d: setattr(d, "SegmentSequence", []), BadFile, "SegmentSequence"),
    "a segment twice": (lambda d: setattr(d.SegmentSequence[1], "SegmentNumber", 1), BadFile, "1 twice"),
    "a segment not described": (
        _frame("SegmentIdentificationSequence", "ReferencedSegmentNumber", 9), BadFile, "ReferencedSegmentNumber",
    ),
    "two frames in one place": (
        lambda d: setattr(d, "PerFrameFunctionalGroupsSequence", [d.PerFrameFunctionalGroupsSequence[0]] * 10),
        BadFile, "frames 1 and 2 of segment 1",
    ),
    "a frame off the stack": (
        _frame("PlanePositionSequence", "ImagePositionPatient", [0, 0, 1.31]), BadGeometry, "reference=",
    ),
    "a frame aside": (
        _frame("PlanePositionSequence", "ImagePositionPatient", [0.4, 0, 0]), BadGeometry, "shifted",
    ),
    "a frame without position": (
        lambda d: delattr(d.PerFrameFunctionalGroupsSequence[3], "PlanePositionSequence"), BadFile, "PlanePosition",
    ),
    "fewer groups than frames": (
        lambda d: d.PerFrameFunctionalGroupsSequence.pop(), BadFile, "9 groups for 10 frames",
    ),
    "fewer pixels than frames": (lambda d: setattr(d, "PixelData", d.PixelData[:20]), TooLarge, "20 bytes"),
    "huge": (lambda d: (setattr(d, "Rows", 60000), setattr(d, "Columns", 60000)), TooLarge, "bytes"),
    "a spacing of 0": (
        lambda d: setattr(d.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0], "PixelSpacing", [0, 1]),
        BadGeometry, "pixel spacing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_files(segmented, fault):
    _, path, _ = segmented
    change, error, message = FAULTS[fault]
    edit(path, change)
    with pytest.raises(error, match=message) as caught:
        _ = read(path, LabelMap).data
    assert all((caught.value.where, caught.value.found, caught.value.due, caught.value.mend))
    assert "CANARY" not in str(caught.value).replace("'CANARY'", "")


def test_files_cut_anywhere(segmented):
    _, path, _ = segmented
    data = path.read_bytes()
    for cut in range(0, len(data) - 2, len(data) // 60):
        path.write_bytes(data[:cut])
        with pytest.raises(MedframeError):
            _ = read(path, LabelMap).data


def test_options_of_other_objects_are_refused(segmented):
    _, path, folder = segmented
    with pytest.raises(BadArgument, match=r"segmentations are read without such an option; found rois"):
        read(path, LabelMap, rois=[1])
    with pytest.raises(BadArgument, match="found threshold"):
        read(folder, threshold=0.5)


# refusals of the writer


def test_lattices_of_other_images_are_refused(tmp_path, segmented):
    label, _, folder = segmented
    for space in (label.space.with_spacing((2, 2, 2)), label.space.window((0, 0, 1), (8, 7, 4))):
        with pytest.raises(BadGeometry, match=r"does not lie on the slices of the source.*to_space"):
            write(label.to_space(space), tmp_path / "x.dcm", source=folder, segments=["liver", "spleen"])
    assert not (tmp_path / "x.dcm").exists()


REFUSED = {
    "no source": ({"source": None}, "belongs to a series"),
    "no names": ({"segments": None}, "have no names"),
    "too few names": ({"segments": ["liver"]}, "label 2"),
    "an unknown name": ({"segments": ["liver", "splean"]}, r"spleen.*Region\('splean'"),
    "one name": ({"segments": "liver"}, "is a list"),
    "no content": ({"content": "image"}, "segmentation, structures"),
    "no encoding": ({"encoding": "fractional"}, "binary, labelmap"),
    "no holes": ({"content": "structures", "holes": "none"}, "keyhole, xor"),
    "no type": ({"algorithm_type": "magic"}, "AUTOMATIC"),
    "a long description": ({"description": "x" * 65}, "description"),
    "a label of 0": ({"segments": {0: "liver", 1: "liver", 2: "spleen"}}, "out of range"),
    "an empty list": ({"source": []}, "no file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_options(tmp_path, segmented, case):
    label, _, folder = segmented
    options, message = REFUSED[case]
    with pytest.raises((BadArgument, BadLabel), match=message):
        write(label, tmp_path / "x.dcm", **{"source": folder, "segments": ["liver", "spleen"], **options})
    assert not (tmp_path / "x.dcm").exists()


def test_images_are_no_segmentations(tmp_path, segmented):
    label, _, folder = segmented
    with pytest.raises(BadArgument, match="images are not written"):
        write(Image(label.data.float(), space=label.space), tmp_path / "x.dcm", source=folder, segments=["liver"])
    many = LabelMap(torch.cat([label.data, label.data]), space=label.space)
    with pytest.raises(BadLabel, match="labels 0 to 2"):
        write(many, tmp_path / "x.dcm", source=folder, segments=["liver", "spleen"])


def test_files_appear_whole_or_not_at_all(tmp_path, segmented, monkeypatch):
    label, path, folder = segmented
    before = path.read_bytes()
    with pytest.raises(WriteFailed, match="exists"):
        write(label, path, source=folder, segments=["liver", "spleen"])

    def full(self, stream, **_):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pydicom.dataset.Dataset, "save_as", full)
    for content in ("segmentation", "structures"):
        with pytest.raises(WriteFailed, match="No space left"):
            write(label, path, source=folder, segments=["liver", "spleen"], overwrite=True, content=content)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct", "seg.dcm"]


def test_the_source_needs_a_frame_of_reference(tmp_path, segmented):
    label, _, folder = segmented
    for path in folder.iterdir():
        edit(path, lambda d: delattr(d, "FrameOfReferenceUID"))
    for content in ("segmentation", "structures"):
        with pytest.raises(BadFile, match="FrameOfReferenceUID"):
            write(label, tmp_path / "x.dcm", source=folder, segments=["liver", "spleen"], content=content)


def test_a_folder_of_several_series(tmp_path, segmented):
    label, _, folder = segmented
    number = pydicom.dcmread(next(folder.iterdir())).SeriesInstanceUID
    other = write_series(tmp_path / "other", label.space)
    for path in list(other.iterdir()):
        path.rename(folder / f"b{path.name}")
    with pytest.raises(BadFile, match="several series"):
        write(label, tmp_path / "x.dcm", source=folder, segments=["liver", "spleen"])
    write(label, tmp_path / "x.dcm", source=folder, segments=["liver", "spleen"], series=str(number))
    assert torch.equal(read(tmp_path / "x.dcm", LabelMap).data, label.data)
    files = [p for p in folder.iterdir() if p.name.startswith("b")]
    write(label, tmp_path / "y.dcm", source=files, segments=["liver", "spleen"])
    # an object beside its series is no image of it
    shutil.copy(tmp_path / "x.dcm", tmp_path / "other" / "seg.dcm")
    shutil.copytree(folder, tmp_path / "one", ignore=lambda _, names: [n for n in names if n.startswith("b")])
    shutil.copy(tmp_path / "x.dcm", tmp_path / "one" / "seg.dcm")
    assert torch.equal(read(tmp_path / "x.dcm", LabelMap, reference=tmp_path / "one").data, label.data)
    assert read(tmp_path / "one").space == label.space
    (tmp_path / "objects").mkdir()
    for name in ("a.dcm", "b.dcm"):
        shutil.copy(tmp_path / "x.dcm", tmp_path / "objects" / name)
    with pytest.raises(BadFile, match="2 DICOM objects that are no images"):
        read(tmp_path / "objects")


# privacy


def test_no_identity_reaches_messages_and_meta(tmp_path, segmented, caplog):
    label, path, folder = segmented
    write(label, tmp_path / "rs.dcm", source=folder, segments=["liver", "spleen"], content="structures")
    for file in (path, tmp_path / "rs.dcm"):
        assert b"Canary^Patient" in file.read_bytes()  # as DICOM demands, and as the documentation says
        assert "canary" not in repr(dict(read(file, LabelMap, reference=folder).meta)).lower()
    for file in folder.iterdir():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            edit(file, lambda d: setattr(d, "PatientBirthDate", "CANARY"))
    said = []
    caplog.clear()
    for content in ("segmentation", "structures"):
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            try:
                write(label, path, source=folder, segments=["liver", "spleen"], overwrite=True, content=content)
            except MedframeError as error:
                said.append(str(error))
        said += [str(w.message) for w in heard]
    assert "canary" not in " ".join([*said, caplog.text]).lower()


# codes


def test_codes_are_those_of_the_standard():
    concepts = pydicom.sr.codedict.codes.SCT
    known = {}
    for keyword in concepts.dir():
        code = getattr(concepts, keyword)
        known.setdefault(code.value, set()).update((keyword.lower(), code.meaning.lower()))
    # pydicom names these otherwise
    renamed = {"urinary bladder": "bladder", "thyroid gland": "thyroid", "primary neoplasm": "neoplasm, primary"}
    for name in known_names():
        code, category, side = code_of(name)
        assert side is None
        plain = renamed.get(code.meaning.lower(), code.meaning.lower())
        assert {plain, plain.replace(" ", "")} & known[code.value], (name, code)
        assert category.value in ("91723000", "85756007", "49755003")


@pytest.mark.parametrize(
    ("name", "code", "side"),
    [
        ("liver", "10200004", None),
        ("Liver", "10200004", None),
        ("kidney_left", "64033007", "left"),
        ("Left Kidney", "64033007", "left"),
        ("KidneyRight", "64033007", "right"),
        ("lung_r", "39607008", "right"),
        ("heart_ventricle_left", "87878005", None),
        ("left_atrium", "82471001", None),
        ("inferior-vena-cava", "64131007", None),
        ("tumour", "108369006", None),
        ("left", None, None),
        ("liver tumor", None, None),
        ("", None, None),
    ],
)
def test_names_of_organs(name, code, side):
    found = code_of(name)
    assert (None if found is None else found[0].value) == code
    assert (None if found is None else found[2]) == side


@pytest.mark.parametrize(
    "parts", [("", "SCT", "x"), ("1" * 17, "SCT", "x"), ("1", "SCT", "a\\b"), ("1", "SCT", "x" * 65)]
)
def test_codes_are_checked(parts):
    with pytest.raises(BadArgument, match="invalid part"):
        Code(*parts)


@pytest.mark.parametrize(
    "parts", [{"name": ""}, {"name": "a\\b"}, {"name": "liver", "side": "up"}, {"name": "liver", "colour": (1, 2)}]
)
def test_regions_are_checked(parts):
    with pytest.raises(BadArgument):
        Region(**parts)


def test_a_header_that_cannot_be_taken_over(tmp_path, segmented, monkeypatch):
    label, _, folder = segmented

    def encode(*_, **__):
        raise ValueError("CANARY")

    monkeypatch.setattr(pydicom.dataset.Dataset, "save_as", encode)
    for content in ("segmentation", "structures"):
        with pytest.raises(BadFile, match="found ValueError") as caught:
            write(label, tmp_path / "x.dcm", source=folder, segments=["liver", "spleen"], content=content)
        assert "CANARY" not in str(caught.value)
    assert not (tmp_path / "x.dcm").exists()


def test_without_highdicom_the_pip_line_is_told(tmp_path, segmented, monkeypatch):
    label, _, folder = segmented
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingPackage, match=r"medframe\[dicom\]"):
        write(label, tmp_path / "x.dcm", source=folder, segments=["liver", "spleen"])
    write(label, tmp_path / "x.dcm", source=folder, segments=["liver", "spleen"], content="structures")


def test_lazily_read_objects_travel_to_workers(segmented):
    label, path, folder = segmented
    image = read(path, LabelMap, reference=folder)
    assert torch.equal(pickle.loads(pickle.dumps(image)).data, label.data)


@pytest.mark.slow
def test_objects_of_strangers_are_read_in_a_child(segmented):
    label, path, _ = segmented
    assert torch.equal(read(path, LabelMap, untrusted=True).data, label.data)


@pytest.mark.parametrize("content", ["segmentation", "structures"])
def test_flipped_bytes_end_in_an_error_of_ours_or_in_labels(tmp_path, segmented, rng, content):
    label, path, folder = segmented
    write(label, path, source=folder, segments=["liver", "spleen"], content=content, overwrite=True)
    data = path.read_bytes()
    said = []
    for _ in range(80):
        torn = bytearray(data)
        for place in rng.integers(132, len(data), int(rng.integers(1, 4))):
            torn[place] = rng.integers(0, 256)
        path.write_bytes(torn)
        try:
            voxels = read(path, LabelMap, reference=label).data
            assert voxels.shape == label.shape
        except MedframeError as error:
            said.append(str(error))
    assert 0 < len(said) < 80
    assert "Canary" not in " ".join(said)


def test_an_element_of_an_unknown_kind(segmented):
    _, path, _ = segmented
    data = path.read_bytes()
    place = data.index(b"\x28\x00\x10\x91SQ") + 4  # PixelMeasuresSequence
    path.write_bytes(data[:place] + b"Sq" + data[place + 2 :])
    with pytest.raises(BadFile, match="PixelMeasuresSequence"):
        read(path, LabelMap)
