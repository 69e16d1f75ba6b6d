"""RTSTRUCT: contours come and go without loss, on any lattice, and what does not fit is an error."""

import warnings

import numpy as np
import pydicom
import pytest
import torch
from dicom_source import edit, lps, write_multiframe, write_series
from pydicom.dataset import Dataset

from medframe.base.errors import BadArgument, BadFile, BadGeometry, BadLabel, MedframeError, MedframeWarning
from medframe.geometry import Space
from medframe.image import Image, LabelMap
from medframe.io import read, write
from medframe.io.dicom import Region

NAMES = ["liver", "kidney_left", "tumor"]


@pytest.fixture
def lattice(rng):
    """A lattice as DICOM gives them: third axis along the cross product of the others, in LPS."""

    def draw(shape, upright=False):
        turn = np.eye(3) if upright else np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turn[:, 2] = np.cross(turn[:, 0], turn[:, 1])
        affine = np.eye(4)
        affine[:3, :3] = turn * rng.uniform(0.5, 4, 3)
        affine[:3, 3] = rng.uniform(-200, 200, 3)
        return Space(shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)

    return draw


@pytest.fixture
def blobs(rng):
    """Regions with holes, islands in holes, touching voxels, and voxels alone."""

    def draw(space):
        labels = (rng.random(space.shape) < 0.4) * rng.integers(1, 4, space.shape)
        ring = np.zeros(space.shape[:2], int)
        ring[1:-1, 1:-1] = 1
        ring[2:-2, 2:-2] = 0
        ring[3:-3, 3:-3] = 2
        labels[..., 1] = ring
        labels[..., 2] = 0
        return LabelMap(torch.from_numpy(labels[None].astype(np.uint8)), space=space)

    return draw


@pytest.mark.parametrize("holes", ["keyhole", "xor"])
@pytest.mark.parametrize("upright", [True, False])
def test_labels_come_back_as_they_were(tmp_path, lattice, blobs, holes, upright):
    space = lattice((11, 9, 6), upright)
    label = blobs(space)
    folder = write_series(tmp_path / "ct", space)
    path = tmp_path / "rs.dcm"
    write(label, path, source=folder, content="structures", segments=NAMES, holes=holes)
    back = read(path, LabelMap, reference=folder)
    assert torch.equal(back.data, label.data)
    assert back.data.dtype == torch.uint8
    assert back.space.matches(space, 1e-4)
    assert back.meta["labels"] == {"1": "liver", "2": "kidney_left", "3": "tumor"}
    # onto a lattice whose axes are permuted and mirrored
    turned = space.reoriented("SAR")
    assert torch.equal(read(path, LabelMap, reference=turned).data, label.to_space(turned).data)
    one = read(path, LabelMap, reference=label, rois=["tumor", 1])
    due = np.select([label.data == 3, label.data == 1], [1, 2], 0)
    assert np.array_equal(one.data.numpy(), due)


def test_what_stands_in_the_file(tmp_path, lattice, blobs):
    space = lattice((8, 9, 4))
    folder = write_series(tmp_path / "ct", space)
    label = blobs(space)
    write(label, tmp_path / "rs.dcm", source=folder, content="structures", segments=NAMES, algorithm_type="MANUAL")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pydicom.dcmread(tmp_path / "rs.dcm")
    sources = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, folder.iterdir())}
    first = next(iter(sources.values()))
    assert found.file_meta.TransferSyntaxUID == pydicom.uid.ImplicitVRLittleEndian
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate"):
        assert found[keyword].value == first[keyword].value
    assert found.SeriesInstanceUID != first.SeriesInstanceUID
    assert found.Modality == "RTSTRUCT"
    frame = found.ReferencedFrameOfReferenceSequence[0]
    assert frame.FrameOfReferenceUID == first.FrameOfReferenceUID
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in series.ContourImageSequence} == set(sources)
    assert [r.ROINumber for r in found.StructureSetROISequence] == [1, 2, 3]
    assert {r.ROIGenerationAlgorithm for r in found.StructureSetROISequence} == {"MANUAL"}
    count = 0
    for roi in found.ROIContourSequence:
        for contour in roi.ContourSequence:
            image = sources[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert len(points) == contour.NumberOfContourPoints
            normal = np.cross(image.ImageOrientationPatient[:3], image.ImageOrientationPatient[3:])
            assert np.abs((points - np.array(image.ImagePositionPatient, float)) @ normal).max() < 1e-5
            assert all(len(str(v)) <= 16 for v in contour.ContourData)
            count += 1
    assert count > 20


def test_a_long_contour_is_one_element(tmp_path):
    # its text passes what explicit transfer syntaxes can hold in a decimal string
    space = Space((120, 100, 1), np.diag([-0.7, -0.7, 3.0, 1.0]))
    labels = np.zeros((1, 120, 100, 1), np.uint8)
    labels[0, ::2] = 1
    labels[0, :, 50] = 1
    folder = write_series(tmp_path / "ct", space)
    label = LabelMap(torch.from_numpy(labels), space=space)
    write(label, tmp_path / "rs.dcm", source=folder, content="structures", segments=["liver"])
    contour = pydicom.dcmread(tmp_path / "rs.dcm").ROIContourSequence[0].ContourSequence[0]
    assert contour.NumberOfContourPoints > 200
    assert contour["ContourData"].VR == "DS"
    assert torch.equal(read(tmp_path / "rs.dcm", LabelMap, reference=folder).data, label.data)


def test_a_series_in_one_file(tmp_path, lattice, blobs):
    space = lattice((9, 8, 5))
    source = write_multiframe(tmp_path / "mf.dcm", space, [3, 0, 4, 1, 2])
    label = blobs(space)
    write(label, tmp_path / "rs.dcm", source=source, content="structures", segments=NAMES)
    assert torch.equal(read(tmp_path / "rs.dcm", LabelMap, reference=source).data, label.data)
    image = pydicom.dcmread(tmp_path / "rs.dcm").ROIContourSequence[0].ContourSequence[0].ContourImageSequence[0]
    assert 1 <= image.ReferencedFrameNumber <= 5


@pytest.fixture
def structures(tmp_path):
    """A structure set as other programs write them: contours through any places, types of any kind."""
    space = Space((20, 16, 6), np.diag([-2.0, -2.0, 3.0, 1.0]))

    def make(rois, kind="CLOSED_PLANAR", frame="1.2.3"):
        out = Dataset()
        out.file_meta = pydicom.dataset.FileMetaDataset()
        out.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        out.file_meta.MediaStorageSOPClassUID = out.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
        out.file_meta.MediaStorageSOPInstanceUID = out.SOPInstanceUID = "1.2.3.4"
        out.StructureSetROISequence, out.ROIContourSequence = [], []
        for number, (name, contours) in enumerate(rois, 1):
            roi, drawn = Dataset(), Dataset()
            roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, frame
            drawn.ReferencedROINumber = number
            drawn.ContourSequence = []
            for index in contours:
                contour = Dataset()
                contour.ContourGeometricType = kind
                places = (lps(space) @ np.c_[np.array(index, float), np.ones(len(index))].T).T[:, :3]
                contour.NumberOfContourPoints = len(places)
                contour.ContourData = [f"{v:.4f}" for v in places.ravel()]
                drawn.ContourSequence.append(contour)
            out.StructureSetROISequence.append(roi)
            out.ROIContourSequence.append(drawn)
        path = tmp_path / "rs.dcm"
        out.save_as(path, enforce_file_format=True)
        return path

    return space, make


def box(low, high, k):
    return [(low, low, k), (low, high, k), (high, high, k), (high, low, k)]


def test_holes_and_islands_of_other_programs(structures):
    space, make = structures
    path = make([("ring", [box(1.5, 12.5, 2), box(3.5, 9.5, 2), box(5.5, 6.5, 2)]), ("dot", [box(4.6, 5.2, 4)])])
    label = read(path, LabelMap, reference=space).data[0].numpy()
    due = np.zeros(space.shape, np.uint8)
    due[2:13, 2:13, 2] = 1
    due[4:10, 4:10, 2] = 0
    due[6, 6, 2] = 1
    due[5, 5, 4] = 2
    assert np.array_equal(label, due)


def test_overlap_names_the_regions(structures):
    space, make = structures
    path = make([("Heart", [box(1.5, 6.5, 2)]), ("Lung", [box(4.5, 9.5, 2)]), ("Cord", [box(12.5, 13.5, 2)])])
    label = read(path, LabelMap, reference=space)
    with pytest.raises(BadLabel, match=r"Heart and Lung in 4 voxels.*channels"):
        _ = label.data
    both = read(path, LabelMap, reference=space, overlap="channels")
    assert both.meta["labels"] == {"0/1": "Heart", "1/1": "Lung", "2/1": "Cord"}
    assert both.data.sum((1, 2, 3)).tolist() == [25, 25, 1]
    assert read(path, LabelMap, reference=space, rois=["Cord", "Heart"]).data.unique().tolist() == [0, 1, 2]
    with pytest.raises(BadLabel, match=r"no such region.*rois='Spleen'.*1: Heart; 2: Lung; 3: Cord"):
        read(path, LabelMap, reference=space, rois=["Spleen"])
    for rois in ([], "Heart", ["Heart", 1]):
        with pytest.raises(BadArgument):
            read(path, LabelMap, reference=space, rois=rois)
    single = read(path, LabelMap, reference=space, overlap="channels", rois=[3])
    assert single.data.unique().tolist() == [0, 1]


def test_overlapping_regions_are_written_again(tmp_path, structures):
    space, make = structures
    path = make([("Heart", [box(1.5, 6.5, 2)]), ("Lung", [box(4.5, 9.5, 2)])])
    both = read(path, LabelMap, reference=space, overlap="channels")
    folder = write_series(tmp_path / "ct", space)
    write(both, tmp_path / "out.dcm", source=folder, content="structures")
    back = read(tmp_path / "out.dcm", LabelMap, reference=folder, overlap="channels")
    assert torch.equal(back.data, both.data)
    assert back.meta["labels"] == both.meta["labels"]


def test_contours_between_slices(structures):
    space, make = structures
    path = make([("Heart", [box(1.5, 6.5, 2.05), box(1.5, 6.5, 3.3)])])
    with pytest.raises(BadGeometry, match=r"1 of 2 contours of Heart, up to 0\.9 mm.*tolerance=0\.5"):
        read(path, LabelMap, reference=space)
    label = read(path, LabelMap, reference=space, tolerance=0.4)
    assert label.data.sum((0, 1, 2)).tolist() == [0, 0, 25, 25, 0, 0]
    with pytest.raises(BadArgument, match="tolerance"):
        read(path, LabelMap, reference=space, tolerance=0.7)


def test_a_coarser_lattice_takes_the_nearest_contour_of_each_slice(structures):
    space, make = structures
    contours = [box(1.5, 4.5 + n, 2 + n / 4) for n in range(-2, 3)]  # nine planes, their sizes tell them apart
    label = read(make([("Heart", contours)]), LabelMap, reference=space, tolerance=0.5)
    assert label.data.sum((0, 1, 2)).tolist() == [0, 0, 9, 0, 0, 0]
    assert "4 contours were passed over" in label.meta["notes"][0]


def test_contours_that_leave_out_slices_are_told(structures):
    space, make = structures
    path = make([("Heart", [box(1.5, 6.5, k) for k in (0, 2, 4)])])
    with pytest.warns(MedframeWarning, match=r"Heart: only every 2\. slice has a contour"):
        label = read(path, LabelMap, reference=space)
    assert label.data.sum((0, 1, 2)).tolist() == [25, 0, 25, 0, 25, 0]


def test_contours_beyond_the_lattice(structures):
    space, make = structures
    path = make([("Body", [box(-4.5, 30, 0), box(-4.5, 30, -1), box(-1, 12, 3)])])
    with pytest.raises(BadGeometry, match=r"2 of 3 contours of Body.*clip=True"):
        read(path, LabelMap, reference=space)
    label = read(path, LabelMap, reference=space, clip=True)
    assert label.data.sum((0, 1, 2)).tolist() == [20 * 16, 0, 0, 12 * 12, 0, 0]


def test_contours_in_other_planes(structures):
    space, make = structures
    path = make([("Slant", [[(1, 1, 1), (1, 8, 2), (8, 8, 3), (8, 1, 2)]])])
    with pytest.raises(BadGeometry, match="do not lie in the planes"):
        read(path, LabelMap, reference=space)
    sagittal = make([("Side", [[(3, 1.5, 0.5), (3, 6.5, 0.5), (3, 6.5, 4.5), (3, 1.5, 4.5)]])])
    label = read(sagittal, LabelMap, reference=space).data[0]
    assert label[3].sum() == label.sum() == 5 * 4


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR"])
def test_what_encloses_no_area_is_no_region(structures, kind):
    space, make = structures
    with pytest.raises(BadFile, match="no region with closed contours"):
        read(make([("Marker", [box(1.5, 6.5, 2)])], kind), LabelMap, reference=space)
    mixed = make([("Marker", [box(1.5, 6.5, 2)]), ("Heart", [box(1.5, 6.5, 2)])])
    edit(mixed, lambda d: setattr(d.ROIContourSequence[0].ContourSequence[0], "ContourGeometricType", kind))
    label = read(mixed, LabelMap, reference=space)
    assert label.meta["labels"] == {"2": "Heart"}
    assert "Marker: 1 contours" in label.meta["notes"][0]


def test_another_frame_of_reference(tmp_path, structures):
    space, make = structures
    folder = write_series(tmp_path / "ct", space)
    path = make([("Heart", [box(1.5, 6.5, 2)])])
    with pytest.raises(BadGeometry, match="frames of reference"):
        read(path, LabelMap, reference=folder)
    assert read(path, LabelMap, reference=space).data.sum() == 25


def _without(keyword):
    return lambda d: delattr(d.ROIContourSequence[0].ContourSequence[0], keyword)


def _with(keyword, value):
    return lambda d: setattr(d.ROIContourSequence[0].ContourSequence[0], keyword, value)


FAULTS = {
    "no contour data": (_without("ContourData"), r"ContourData \(3006,0050\)"),
    "another count": (_with("NumberOfContourPoints", 7), "12 numbers for 7 points"),
    "an odd count": (_with("ContourData", ["1", "2"]), "2 numbers for 4 points"),
    "infinity": (_with("ContourData", ["1e400"] * 12), "NaN or infinity"),
    "a number twice": (lambda d: setattr(d.StructureSetROISequence[1], "ROINumber", 1), "1 twice"),
    "contours twice": (lambda d: setattr(d.ROIContourSequence[1], "ReferencedROINumber", 1), "1 twice"),
    "no regions": (lambda d: delattr(d, "StructureSetROISequence"), "no region"),
    "no ROI number": (lambda d: delattr(d.StructureSetROISequence[0], "ROINumber"), "ROINumber"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_files(structures, fault):
    space, make = structures
    path = make([("Heart", [box(1.5, 6.5, 2)]), ("Lung", [box(7.5, 9.5, 2)])])
    change, message = FAULTS[fault]
    edit(path, change)
    with pytest.raises(BadFile, match=message) as caught:
        read(path, LabelMap, reference=space)
    assert all((caught.value.where, caught.value.found, caught.value.due, caught.value.mend))


def test_text_among_the_numbers(structures):
    space, make = structures
    path = make([("Heart", [box(1.5, 6.5, 2)])])
    data = path.read_bytes()
    path.write_bytes(data.replace(b"3.0000", b"CANARY"))
    with pytest.raises(BadFile, match="ContourData") as caught:
        read(path, LabelMap, reference=space)
    assert "CANARY" not in str(caught.value)
    for cut in range(0, len(data) - 1, 97):
        path.write_bytes(data[:cut])
        with pytest.raises(MedframeError):
            read(path, LabelMap, reference=space)


def test_contours_are_labels_on_a_lattice(structures):
    space, make = structures
    path = make([("Heart", [box(1.5, 6.5, 2)])])
    with pytest.raises(BadArgument, match="read as labels"):
        read(path, reference=space)
    with pytest.raises(BadArgument, match="reference="):
        read(path, LabelMap)
    with pytest.raises(BadArgument, match="no lattice"):
        read(path, LabelMap, reference=3)


def test_any_image_may_be_the_reference(tmp_path, structures):
    space, make = structures
    path = make([("Heart", [box(1.5, 6.5, 2)])])
    write(Image(torch.zeros(1, *space.shape), space=space), tmp_path / "ct.nii.gz")
    assert read(path, LabelMap, reference=tmp_path / "ct.nii.gz").data.sum() == 25


def test_a_region_without_voxels_is_kept(tmp_path, lattice):
    space = lattice((6, 5, 3))
    folder = write_series(tmp_path / "ct", space)
    label = LabelMap(torch.zeros(1, *space.shape, dtype=torch.uint8), space=space)
    segments = [Region("liver", colour=(1, 2, 3)), "spleen"]
    write(label, tmp_path / "rs.dcm", source=folder, content="structures", segments=segments)
    assert pydicom.dcmread(tmp_path / "rs.dcm").ROIContourSequence[0].ROIDisplayColor == [1, 2, 3]
    back = read(tmp_path / "rs.dcm", LabelMap, reference=folder)
    assert back.data.sum() == 0
    assert back.meta["labels"] == {"1": "liver", "2": "spleen"}
