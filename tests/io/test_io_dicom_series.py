"""Synthetic DICOM series, whose truth is known: values, dtypes, volumes, options, compression, laziness."""

import pickle

import numpy as np
import pydicom
import pytest
import torch
from dicom_maker import Maker, compress, encoded, orthogonal, ramp, save
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)
from torch.utils.data import DataLoader

from medframe.base.errors import (
    BadArgument,
    BadFile,
    BadGeometry,
    BadLabel,
    MedframeError,
    MissingPackage,
    TooLarge,
)
from medframe.base.sizes import set_image_limit
from medframe.image import Image, LabelMap
from medframe.io import format_of, read, write
from medframe.io.dicom import pixels as dicom_pixels
from medframe.io.dicom.codestream import Coded, coded_size
from medframe.io.untrusted import Limits, read_untrusted

VOLUME = ramp()
LARGE = ramp((40, 48, 3))  # JPEG 2000 needs some pixels
SWAPPED = {(0, 7): 8, (1, 0): 7}  # volume and slice: numbers that run through neither volumes nor positions


def values_of(image):
    return image.data[0].numpy()


# what values become


@pytest.mark.parametrize(
    ("over", "dtype", "due"),
    [
        ({"BitsStored": 12, "HighBit": 11}, torch.int16, VOLUME),
        ({}, torch.int32, VOLUME),
        ({"signed": True}, torch.int16, VOLUME),
        ({"signed": True, "RescaleSlope": 1, "RescaleIntercept": -1024}, torch.int32, VOLUME - 1024),
        ({"BitsStored": 12, "HighBit": 11, "RescaleSlope": 1, "RescaleIntercept": -1024}, torch.int16, VOLUME - 1024),
        ({"RescaleSlope": 2, "RescaleIntercept": -5}, torch.int32, 2 * VOLUME - 5),
        ({"RescaleSlope": -1, "RescaleIntercept": 0}, torch.int32, -VOLUME),
        ({"RescaleSlope": 70000, "RescaleIntercept": 0}, torch.int64, 70000 * VOLUME),
        ({"RescaleSlope": "0.1", "RescaleIntercept": "-0.5"}, torch.float32, VOLUME * 0.1 - 0.5),
        ({"RescaleSlope": "0.001", "RescaleIntercept": "100000"}, torch.float64, VOLUME * 0.001 + 100000),
        ({"RescaleSlope": 1, "RescaleIntercept": "0.25"}, torch.float32, VOLUME + 0.25),
    ],
)
def test_slope_intercept_and_bits_decide_the_dtype(tmp_path, over, dtype, due):
    maker = Maker(VOLUME)
    image = read(maker.write(tmp_path / "s", **over))
    assert image.dtype == dtype
    if dtype.is_floating_point:
        np.testing.assert_allclose(values_of(image), due, rtol=1e-6)
    else:
        np.testing.assert_array_equal(values_of(image), due)
    np.testing.assert_allclose(image.affine, maker.affine, atol=1e-9)


def test_bytes_stay_bytes_and_wide_integers_wide(tmp_path):
    maker = Maker(VOLUME % 251)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    for k in range(8):
        pixels = maker.volume[:, :, k].T
        (tmp_path / "a").mkdir(exist_ok=True)
        save(maker.slice(k, PixelData=pixels.astype("u1").tobytes(), **eight), tmp_path / f"a/{k}.dcm")
    image = read(tmp_path / "a")
    assert image.dtype == torch.uint8
    np.testing.assert_array_equal(values_of(image), maker.volume)
    wide = VOLUME * 1_000_003 - 7
    (tmp_path / "b").mkdir()
    for k in range(8):
        over = {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "PixelRepresentation": 1}
        save(maker.slice(k, PixelData=wide[:, :, k].T.astype("<i4").tobytes(), **over), tmp_path / f"b/{k}.dcm")
    image = read(tmp_path / "b")
    assert image.dtype == torch.int32
    np.testing.assert_array_equal(values_of(image), wide)


def test_each_slice_has_its_own_slope(tmp_path):
    maker = Maker(VOLUME)
    (tmp_path / "s").mkdir()
    for k in range(8):
        save(maker.slice(k, RescaleSlope=f"{1 + k / 2}", RescaleIntercept=-10 * k), tmp_path / f"s/{7 - k}.dcm")
    due = VOLUME * (1 + np.arange(8) / 2) - 10 * np.arange(8)
    image = read(tmp_path / "s")
    np.testing.assert_allclose(values_of(image), due)
    np.testing.assert_allclose(image.source.read((slice(1, 3), slice(0, 6), slice(2, 5)))[0], due[1:3, :, 2:5])


def test_stray_bits_go_and_signs_come_from_the_highest_bit_that_counts(tmp_path):
    maker = Maker(VOLUME)
    twelve = {"BitsStored": 12, "HighBit": 11}
    junk = [(VOLUME[:, :, k].T | 0x9000).astype("<u2").tobytes() for k in range(8)]
    (tmp_path / "a").mkdir()
    for k in range(8):
        save(maker.slice(k, PixelData=junk[k], **twelve), tmp_path / f"a/{k}.dcm")
    np.testing.assert_array_equal(values_of(read(tmp_path / "a")), VOLUME)
    signed = VOLUME - 500
    (tmp_path / "b").mkdir()
    for k in range(8):
        save(maker.slice(k, pixels=signed[:, :, k].T & 0x0FFF, signed=True, **twelve), tmp_path / f"b/{k}.dcm")
    np.testing.assert_array_equal(values_of(read(tmp_path / "b")), signed)
    shifted = {"BitsStored": 12, "HighBit": 15}
    (tmp_path / "c").mkdir()
    for k in range(8):
        save(maker.slice(k, pixels=VOLUME[:, :, k].T << 4, **shifted), tmp_path / f"c/{k}.dcm")
    np.testing.assert_array_equal(values_of(read(tmp_path / "c")), VOLUME)


def test_monochrome1_is_inverted_only_where_values_have_no_unit(tmp_path):
    twelve = {"BitsStored": 12, "HighBit": 11, "PhotometricInterpretation": "MONOCHROME1"}
    image = read(Maker(VOLUME).write(tmp_path / "a", **twelve))
    np.testing.assert_array_equal(values_of(image), 4095 - VOLUME)
    assert any("inverted" in note for note in image.meta["notes"])
    image = read(Maker(VOLUME).write(tmp_path / "b", RescaleSlope=1, RescaleIntercept=-1024, **twelve))
    np.testing.assert_array_equal(values_of(image), VOLUME - 1024)
    assert any("values were kept" in note for note in image.meta["notes"])
    with pytest.raises(BadFile, match="inverted"):
        read(tmp_path / "a", LabelMap)
    mixed = Maker(VOLUME).write(tmp_path / "c")
    odd = Maker(VOLUME)
    odd.series, odd.study = read_series(mixed), generate_uid()
    save(odd.slice(3, SeriesInstanceUID=read_series(mixed), **twelve), mixed / "003.dcm")
    with pytest.raises(BadFile, match="mixed"):
        read(mixed)


def read_series(folder):
    from medframe.io.dicom import read_header

    return str(read_header(next(folder.iterdir())).SeriesInstanceUID)


def test_a_table_gives_values_and_holds_its_ends(tmp_path):
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [100, 50, 16], "US"
    table.LUTData = (np.arange(100) ** 2).astype("<u2").tobytes()
    image = read(Maker(VOLUME).write(tmp_path / "s", ModalityLUTSequence=[table]))
    np.testing.assert_array_equal(values_of(image), np.clip(VOLUME - 50, 0, 99) ** 2)
    assert image.dtype == torch.int16
    table.LUTData = bytes(20)
    with pytest.raises(BadFile, match="LUTData"):
        read(Maker(VOLUME).write(tmp_path / "t", ModalityLUTSequence=[table]))


def test_colours_are_channels_however_they_lie(tmp_path):
    rgb = np.stack([VOLUME[:, :, 0].T + c for c in (0, 50, 100)]).astype("u1")
    facts = {
        "SamplesPerPixel": 3,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PhotometricInterpretation": "RGB",
    }
    maker = Maker(VOLUME)
    for planar, pixels in ((1, rgb), (0, rgb.transpose(1, 2, 0))):
        raw = np.ascontiguousarray(pixels).tobytes()
        path = save(maker.slice(0, PlanarConfiguration=planar, PixelData=raw, **facts), tmp_path / f"{planar}.dcm")
        image = read(path)
        assert (image.dtype, image.shape) == (torch.uint8, (3, 5, 6, 1))
        np.testing.assert_array_equal(image.data[..., 0].numpy(), rgb.transpose(0, 2, 1))
        np.testing.assert_array_equal(image.source.read((slice(0, 5), slice(2, 4), slice(0, 1))), image.data[:, :, 2:4])
    with pytest.raises(BadLabel, match="colours"):
        read(path, LabelMap)


def test_float_pixels(tmp_path):
    maker = Maker(VOLUME)
    ds = maker.slice(0, PixelData=None)
    for keyword in ("BitsStored", "HighBit", "PixelRepresentation"):
        del ds[keyword]
    ds.BitsAllocated, ds.FloatPixelData = 32, (VOLUME[:, :, 0].T / 7).astype("<f4").tobytes()
    image = read(save(ds, tmp_path / "x.dcm"))
    assert image.dtype == torch.float32
    np.testing.assert_array_equal(values_of(image)[..., 0], (VOLUME[:, :, 0] / 7).astype("f4"))


def test_labels_are_whole_by_their_header(tmp_path):
    maker = Maker(VOLUME % 3)
    label = read(maker.write(tmp_path / "a"), LabelMap)
    assert isinstance(label, LabelMap)
    assert not label.dtype.is_floating_point
    np.testing.assert_array_equal(values_of(label), VOLUME % 3)
    assert read(tmp_path / "a", LabelMap, classes=3).data.max() == 2
    with pytest.raises(BadLabel, match="label 2"):
        read(tmp_path / "a", LabelMap, classes=2).data  # noqa: B018
    with pytest.raises(BadLabel, match=r"RescaleSlope 0\.5"):
        read(maker.write(tmp_path / "b", RescaleSlope="0.5", RescaleIntercept=0), LabelMap)


# which files, and which volumes


def test_a_folder_of_several_series_lists_them_and_takes_a_choice(tmp_path):
    first, second = Maker(VOLUME), Maker(VOLUME + 2000)
    first.write(tmp_path, name="a{}.dcm")
    second.write(tmp_path, name="b{}.dcm", SeriesNumber=7)
    with pytest.raises(BadFile) as caught:
        read(tmp_path)
    text = str(caught.value)
    assert "series 1" in text
    assert "series 7" in text
    assert "(CT, 8 files of 6 x 5)" in text
    assert "series=" in text
    assert str(first.series) not in text
    for choice in (str(second.series), str(second.series)[-12:], f"...{str(second.series)[-12:]}", 7, "7"):
        np.testing.assert_array_equal(values_of(read(tmp_path, series=choice)), VOLUME + 2000)
    with pytest.raises(BadFile, match="no such series"):
        read(tmp_path, series="99")


def test_other_objects_and_files_are_passed_over_and_counted(tmp_path):
    maker = Maker(VOLUME)
    maker.write(tmp_path, name="IM{}")
    report = maker.slice(0, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR", PixelData=None)
    for keyword in ("Rows", "Columns"):
        del report[keyword]
    save(report, tmp_path / "report.dcm")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    image = read(tmp_path)
    np.testing.assert_array_equal(values_of(image), VOLUME)
    assert any(note.startswith("3 other files") for note in image.meta["notes"])


@pytest.mark.parametrize("name", ["009.dcm", "IM9", "1.2.840.9"])
def test_an_empty_file_named_like_a_slice_is_an_error(tmp_path, name):
    Maker(VOLUME).write(tmp_path)
    (tmp_path / name).touch()
    with pytest.raises(BadFile, match="empty"):
        read(tmp_path)


def test_a_folder_above_the_files_says_where_to_look(tmp_path):
    Maker(VOLUME).write(tmp_path / "study" / "series")
    with pytest.raises(BadFile, match="and folders"):
        read(tmp_path / "study")


def test_identical_copies_are_dropped_when_asked_for(tmp_path):
    Maker(VOLUME).write(tmp_path)
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "003.dcm").read_bytes())
    with pytest.raises(BadGeometry, match=r"003\.dcm and copy\.dcm"):
        read(tmp_path)
    image = read(tmp_path, duplicates="drop_identical")
    np.testing.assert_array_equal(values_of(image), VOLUME)
    assert "1 identical copy was left out" in image.meta["notes"]


def test_two_pictures_of_one_place_are_never_dropped(tmp_path):
    maker = Maker(VOLUME)
    maker.write(tmp_path)
    save(maker.slice(3, pixels=VOLUME[:, :, 0].T), tmp_path / "x.dcm")
    with pytest.raises(BadGeometry, match="one position"):
        read(tmp_path, duplicates="drop_identical")


def test_the_largest_group_is_read_when_asked_for(tmp_path):
    maker = Maker(VOLUME)
    maker.write(tmp_path)
    save(maker.slice(0, pixels=np.ones((9, 9)), ImagePositionPatient=[0, 0, 200]), tmp_path / "loc.dcm")
    with pytest.raises(BadGeometry, match=r"9 x 9 pixels in 1 image: loc\.dcm"):
        read(tmp_path)
    image = read(tmp_path, mixed="largest")
    np.testing.assert_array_equal(values_of(image), VOLUME)
    assert any(r"loc.dcm" in note for note in image.meta["notes"])


def test_a_gap_is_filled_between_its_neighbours_when_asked_for(tmp_path):
    maker = Maker(VOLUME)  # linear along the slices, so the missing one is known
    maker.write(tmp_path, order=[0, 1, 2, 3, 5, 6, 7])
    with pytest.raises(BadGeometry, match="1 slice is missing"):
        read(tmp_path)
    image = read(tmp_path, on_gap="resample")
    assert image.dtype == torch.float32
    np.testing.assert_allclose(values_of(image), VOLUME, rtol=1e-6)
    np.testing.assert_allclose(image.affine, maker.affine, atol=1e-6)
    assert any("7 uneven slices were resampled onto 8" in note for note in image.meta["notes"])
    window = (slice(1, 3), slice(0, 2), slice(3, 5))
    np.testing.assert_allclose(image.source.read(window)[0], VOLUME[window], rtol=1e-6)
    label = read(tmp_path, LabelMap, on_gap="resample")
    assert set(np.unique(values_of(label)[:, :, 4])) <= set(np.unique(VOLUME[:, :, [3, 5]]))


def test_an_uneven_stack_is_resampled_at_world_places(tmp_path):
    depths = np.array([0, 2.0, 4.5, 6.0, 9.0, 10.0])
    field = np.broadcast_to((10 * depths + 5).astype(int), (5, 6, 6))
    maker = Maker(field)
    for n, z in enumerate(depths):
        save(maker.slice(n, ImagePositionPatient=[0, 0, z]), tmp_path / f"{n}.dcm")
    image = read(tmp_path, on_gap="resample")
    z = image.space.to_world([[0, 0, k] for k in range(image.space.shape[2])])[:, 2]
    np.testing.assert_allclose(values_of(image)[0, 0], 10 * z + 5, atol=1e-4)


def test_an_even_stack_is_left_alone_by_on_gap(tmp_path):
    Maker(VOLUME).write(tmp_path)
    image = read(tmp_path, on_gap="resample")
    assert image.dtype == torch.int32
    np.testing.assert_array_equal(values_of(image), VOLUME)


def test_a_tilt_is_kept_or_undone_at_world_places(tmp_path):
    i, j, k = np.indices((20, 30, 6))
    maker = Maker(np.zeros((20, 30, 6), int), shear=(0.5, -0.8))
    world = np.stack([i, j, k], -1) @ maker.affine[:3, :3].T + maker.affine[:3, 3]
    maker.volume = np.rint(1000 + 10 * world @ [1, 2, 3]).astype(int)
    maker.write(tmp_path)
    kept = read(tmp_path)
    np.testing.assert_array_equal(values_of(kept), maker.volume)
    np.testing.assert_allclose(kept.affine, maker.affine, atol=1e-6)
    assert any("the affine is sheared" in note for note in kept.meta["notes"])
    straight = read(tmp_path, tilt="upright")
    linear = straight.space.direction
    np.testing.assert_allclose(linear.T @ linear, np.eye(3), atol=1e-9)
    index = np.stack(np.meshgrid(range(8, 12), range(10, 20), range(6), indexing="ij"), -1)
    due = 1000 + 10 * straight.space.to_world(index) @ [1, 2, 3]
    np.testing.assert_allclose(values_of(straight)[8:12, 10:20], due, atol=1.01)
    window = (slice(3, 9), slice(4, 20), slice(2, 5))
    torch.testing.assert_close(straight.source.read(window), straight.data[(slice(None), *window)])
    with pytest.raises(BadGeometry, match="gantry tilt"):
        read(tmp_path, tilt="error")


# several volumes


def four(tmp_path, facts, count=3):
    maker = Maker(VOLUME)
    for t in range(count):
        for k in range(8):
            over = facts(t, k)
            save(
                maker.slice(k, pixels=VOLUME[:, :, k].T + 1000 * t, **over), tmp_path / f"{(7 * k + t) % 8}_{k}_{t}.dcm"
            )
    return [VOLUME + 1000 * t for t in range(count)]


@pytest.mark.parametrize(
    ("facts", "by"),
    [
        (lambda t, k: {"TemporalPositionIdentifier": t + 1}, "TemporalPositionIdentifier"),
        (lambda t, k: {"EchoTime": f"{10 * t + 2.5}", "AcquisitionNumber": k + 1}, "EchoTime"),
        (lambda t, k: {"TriggerTime": 30 * t, "InstanceNumber": 8 * t + k}, "TriggerTime"),
        (lambda t, k: {"AcquisitionNumber": t + 1}, "AcquisitionNumber"),
        (lambda t, k: {"NumberOfTemporalPositions": 3, "InstanceNumber": 8 * t + k}, "InstanceNumber"),
        (lambda t, k: {"NumberOfTemporalPositions": 3, "InstanceNumber": 3 * k + t}, "InstanceNumber"),
    ],
)
def test_volumes_are_told_apart_by_what_says_so(tmp_path, facts, by):
    due = four(tmp_path, facts)
    image = read(tmp_path)
    assert image.meta["volumes"]["by"] == by
    np.testing.assert_array_equal(image.data.numpy(), due)
    part = image.source.read((slice(2, 4), slice(1, 6), slice(3, 4)))
    np.testing.assert_array_equal(part, np.stack(due)[:, 2:4, 1:6, 3:4])


def test_two_elements_together_may_tell_volumes_apart(tmp_path):
    due = four(tmp_path, lambda t, k: {"EchoNumbers": t // 2, "ImageType": ["ORIGINAL", "PRIMARY", "MP"[t % 2]]}, 4)
    image = read(tmp_path)
    assert image.meta["volumes"]["by"] == "EchoNumbers and ImageType"
    np.testing.assert_array_equal(image.data.numpy(), due)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (lambda t, k: {}, "no element tells the volumes apart"),
        (lambda t, k: {"InstanceNumber": 8 * t + k}, "no element tells"),  # a number alone declares no time
        (lambda t, k: {"EchoTime": 5 * (t if k else 0)}, "no element tells"),
        (lambda t, k: {"TemporalPositionIdentifier": 2} if t else {}, "TemporalPositionIdentifier stands in 16 of 24"),
        (lambda t, k: {"NumberOfTemporalPositions": 3, "InstanceNumber": SWAPPED.get((t, k), 8 * t + k)}, "no element"),
        (lambda t, k: {"NumberOfTemporalPositions": 4, "InstanceNumber": 8 * t + k}, "no element tells"),
    ],
)
def test_volumes_are_never_guessed(tmp_path, facts, message):
    four(tmp_path, facts)
    with pytest.raises(BadGeometry, match=message):
        read(tmp_path)


def test_the_element_may_be_named(tmp_path):
    due = four(tmp_path, lambda t, k: {"EchoTime": t, "TriggerTime": 90 - 30 * t, "InstanceNumber": 8 * t + k})
    np.testing.assert_array_equal(read(tmp_path).data.numpy(), due)
    np.testing.assert_array_equal(read(tmp_path, by="TriggerTime").data.numpy(), due[::-1])
    np.testing.assert_array_equal(read(tmp_path, by="InstanceNumber").data.numpy(), due)
    with pytest.raises(BadGeometry, match="AcquisitionNumber does not occur"):
        read(tmp_path, by="AcquisitionNumber")
    with pytest.raises(BadArgument, match="PatientName"):
        read(tmp_path, by="PatientName")


def test_an_incomplete_volume_is_an_error(tmp_path):
    four(tmp_path, lambda t, k: {"TemporalPositionIdentifier": t + 1})
    next(tmp_path.glob("*_3_1.dcm")).unlink()
    with pytest.raises(BadGeometry, match="equally many images; found fewer than 3 at 1 of 8 positions"):
        read(tmp_path)


# multi-frame objects


def test_frames_are_sorted_by_place_and_have_their_own_slope(tmp_path):
    order = [3, 0, 7, 1, 5, 2, 6, 4]
    groups = []
    for k in order:
        group, rescale = Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept = 1 + k / 2, -10 * k
        group.PixelValueTransformationSequence = [rescale]
        groups.append(group)
    maker = Maker(VOLUME, shear=(0.1, 0.2))
    path = save(maker.enhanced(order, groups), tmp_path / "x.dcm")
    image = read(path)
    due = VOLUME * (1 + np.arange(8) / 2) - 10 * np.arange(8)
    np.testing.assert_allclose(values_of(image), due)
    np.testing.assert_allclose(image.affine, maker.affine, atol=1e-9)
    np.testing.assert_allclose(image.source.read((slice(0, 5), slice(2, 3), slice(6, 8)))[0], due[:, 2:3, 6:8])
    save(maker.enhanced([0, 1, 2, 4]), path)
    with pytest.raises(BadGeometry, match=r"x\.dcm, frame 3 .* and x\.dcm, frame 4"):
        read(path)


def test_frames_of_several_times_are_channels(tmp_path):
    groups = []
    for t in range(2):
        for _ in range(8):
            group, content = Dataset(), Dataset()
            content.TemporalPositionIndex = 2 - t
            group.FrameContentSequence = [content]
            groups.append(group)
    image = read(save(Maker(VOLUME).enhanced([*range(8)] * 2, groups), tmp_path / "x.dcm"))
    assert (image.channels, image.meta["volumes"]["values"]) == (2, [1.0, 2.0])


def test_a_dose_grid_lies_by_its_offsets(tmp_path):
    maker = Maker(VOLUME)
    stack = np.stack([VOLUME[:, :, k].T for k in range(8)]).astype("<u2")
    over = {"NumberOfFrames": 8, "GridFrameOffsetVector": [2.5 * k for k in range(8)], "DoseGridScaling": "0.001"}
    image = read(save(maker.slice(0, Modality="RTDOSE", PixelData=stack.tobytes(), **over), tmp_path / "x.dcm"))
    np.testing.assert_allclose(values_of(image), VOLUME * 0.001, rtol=1e-6)
    np.testing.assert_allclose(image.affine, maker.affine, atol=1e-9)


def test_more_pixels_than_the_header_says_are_an_error(tmp_path):
    stack = np.stack([VOLUME[:, :, k].T for k in range(8)]).astype("<u2")
    path = save(Maker(VOLUME).slice(0, PixelData=stack.tobytes()), tmp_path / "x.dcm")
    with pytest.raises(BadFile, match="more pixels than its header says"):
        read(path)


# flat images


def test_a_radiograph_is_flat_when_asked_for(tmp_path):
    flat = dict.fromkeys(["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness"])
    maker = Maker(VOLUME)
    path = save(maker.slice(2, ImagerPixelSpacing=[0.2, 0.1], Modality="DX", **flat), tmp_path / "x.dcm")
    with pytest.raises(BadGeometry, match="ndim=2"):
        read(path)
    image = read(path, ndim=2)
    assert (image.shape, image.space.spacing.tolist()) == ((1, 5, 6), [0.1, 0.2])
    np.testing.assert_array_equal(values_of(image), VOLUME[:, :, 2])
    assert any("at the detector" in note for note in image.meta["notes"])
    assert any("1 mm" in note for note in read(save(maker.slice(2, **flat), path), ndim=2).meta["notes"])
    with pytest.raises(BadFile, match="one frame"):
        read(maker.write(tmp_path / "s"), ndim=2)


def test_one_slice_takes_its_thickness_and_says_so(tmp_path):
    maker = Maker(VOLUME[:, :, :1])
    image = read(maker.write(tmp_path))
    assert image.space.spacing[2] == 2.5
    assert any("SliceThickness" in note for note in image.meta["notes"])
    save(maker.slice(0, SliceThickness=None), tmp_path / "000.dcm")
    with pytest.raises(BadGeometry, match="how thick"):
        read(tmp_path)
    assert read(tmp_path, thickness=4.0).space.spacing[2] == 4.0


# transfer syntaxes


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_compressed_slices_and_frames(tmp_path, syntax):
    if not get_decoder(syntax).is_available:
        pytest.skip(f"no decoder of {syntax.name} here")
    maker = Maker(LARGE)
    (tmp_path / "s").mkdir()
    for k in range(3):
        compress(maker.slice(k, BitsStored=12, HighBit=11), tmp_path / f"s/{k}.dcm", syntax)
    image = read(tmp_path / "s")
    np.testing.assert_array_equal(values_of(image), LARGE)
    window = (slice(1, 34), slice(20, 45), slice(1, 2))
    np.testing.assert_array_equal(image.source.read(window)[0], LARGE[window])
    path = compress(maker.enhanced([1, 2, 0]), tmp_path / "x.dcm", syntax)
    np.testing.assert_array_equal(values_of(read(path)), LARGE)


def test_a_stream_of_fewer_bits_is_refused(tmp_path):
    maker = Maker(LARGE % 200)
    jpeg_ls = pytest.importorskip("jpeg_ls")
    ds = compress(maker.slice(0), tmp_path / "x.dcm", JPEGLSLossless)
    header = pydicom.dcmread(ds)
    header.PixelData = encapsulate([bytes(jpeg_ls.encode_array(maker.volume[:, :, 0].T.astype("u2")))])
    header.save_as(ds)
    with pytest.raises(BadFile, match="found 48 x 40 x 1 of 8 bits; expected 48 x 40 x 1 of 16 bits"):
        read(ds).data  # noqa: B018


def test_a_missing_decoder_is_named_with_its_pip_line(tmp_path, monkeypatch):
    compress(Maker(LARGE).slice(0), tmp_path / "x.dcm", JPEG2000Lossless)
    image = read(tmp_path)

    class Absent:
        is_available = False

    real = dicom_pixels.need

    def need(package, purpose):
        module = real(package, purpose)
        return type("pixels", (), {"get_decoder": lambda uid: Absent()}) if package == "pydicom.pixels" else module

    monkeypatch.setattr(dicom_pixels, "need", need)
    with pytest.raises(MissingPackage, match=r"pip install 'medframe\[dicom\]'"):
        image.data  # noqa: B018


def test_a_stream_of_another_size_never_reaches_its_decoder(tmp_path):
    maker = Maker(LARGE)
    path = compress(maker.slice(0), tmp_path / "x.dcm", JPEG2000Lossless)
    for syntax in (JPEG2000Lossless, JPEGLSLossless):
        marked = syntax == JPEGLSLossless
        assert coded_size(encoded(LARGE[:, :, 0].T, syntax, 12)) == Coded(48, 40, 1, 12, marked)
    raw = path.read_bytes()
    at = raw.index(b"\xff\x4f\xff\x51") + 8
    path.write_bytes(raw[:at] + (60000).to_bytes(4, "big") * 2 + raw[at + 8 :])
    with pytest.raises(BadFile, match=r"do not decode .*found 60000 x 60000 x 1"):
        read(path).data  # noqa: B018
    path = compress(maker.slice(0), path, RLELossless)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MedframeError, match=r"x\.dcm"):
        read(path).data  # noqa: B018


def test_a_stream_without_its_end_never_reaches_its_decoder(tmp_path):
    maker = Maker(LARGE)
    path = compress(maker.slice(0), tmp_path / "x.dcm", JPEGLSLossless)
    whole = path.read_bytes()
    path.write_bytes(whole[:-60])  # CharLS would look for the end for a minute
    with pytest.raises(BadFile, match="cut short"):
        read(path).data  # noqa: B018
    header = pydicom.dcmread(save(maker.slice(0), path))
    header.PixelData = encapsulate([encoded(LARGE[:, :, 0].T, JPEGLSLossless)[:200]])
    header["PixelData"].is_undefined_length = True
    save(header, path, JPEGLSLossless)
    with pytest.raises(BadFile, match="a stream without its end"):
        read(path).data  # noqa: B018


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_other_ways_to_write_the_same(tmp_path, syntax):
    maker = Maker(VOLUME)
    for k in range(8):
        save(maker.slice(k), tmp_path / f"{k}.dcm", syntax)
    image = read(tmp_path)
    np.testing.assert_array_equal(image.source.read((slice(0, 5), slice(1, 3), slice(0, 8)))[0], VOLUME[:, 1:3])
    np.testing.assert_array_equal(values_of(image), VOLUME)
    frames = save(maker.enhanced(range(8)), tmp_path.parent / f"{tmp_path.name}.dcm", syntax)
    np.testing.assert_array_equal(values_of(read(frames)), VOLUME)


# values, not files


def test_an_image_is_lazy_pickles_without_voxels_and_notices_a_change(tmp_path):
    maker = Maker(VOLUME)
    maker.write(tmp_path, PatientName="CANARY^JANE", PatientID="CANARY42")
    image = read(tmp_path)
    packed = pickle.dumps(image.source)
    assert b"CANARY" not in packed
    assert b"CANARY" not in pickle.dumps(image)
    assert np.array_equal(pickle.loads(packed).read((slice(0, 5), slice(0, 6), slice(0, 8)))[0], VOLUME)
    save(maker.slice(3, pixels=VOLUME[:, :, 0].T, ImageComments="longer"), tmp_path / "003.dcm")
    with pytest.raises(BadFile, match=r"003\.dcm: the file changed"):
        image.data  # noqa: B018
    assert torch.equal(
        image.source.read((slice(0, 5), slice(0, 6), slice(0, 3))),
        image.source.read((slice(0, 5), slice(0, 6), slice(0, 3))),
    )


class Voxels(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index].data.clone()


def test_a_worker_reads_what_the_parent_opened(tmp_path):
    maker = Maker(VOLUME)
    image = read(maker.write(tmp_path / "a"))
    found = list(DataLoader(Voxels([image, image]), batch_size=None, num_workers=1))
    assert all(np.array_equal(voxels[0], VOLUME) for voxels in found)


def test_untrusted_folders_and_files(tmp_path):
    maker = Maker(VOLUME)
    folder = maker.write(tmp_path / "s")
    image = read(folder, untrusted=True)
    np.testing.assert_array_equal(values_of(image), VOLUME)
    np.testing.assert_allclose(image.affine, maker.affine)
    assert image.meta["modality"] == "CT"
    path = compress(maker.enhanced(range(8)), tmp_path / "x.dcm", RLELossless)
    np.testing.assert_array_equal(values_of(read_untrusted(path, Image, Limits(seconds=60))), VOLUME)
    (folder / "004.dcm").unlink()
    with pytest.raises(BadGeometry, match="1 slice is missing"):
        read(folder, untrusted=True)


def test_the_image_limit_holds(tmp_path):
    Maker(VOLUME).write(tmp_path)
    set_image_limit(500)
    try:
        with pytest.raises(TooLarge, match="limit"):
            read(tmp_path)
    finally:
        set_image_limit(8 << 30)


def test_what_was_read_is_written_and_read_again(tmp_path, rng):
    maker = Maker(VOLUME, axes=orthogonal(rng))
    image = read(maker.write(tmp_path / "s"))
    write(image, tmp_path / "out.nii.gz")
    back = read(tmp_path / "out.nii.gz")
    assert torch.equal(back.data, image.data)
    np.testing.assert_allclose(back.affine, image.affine, atol=1e-4)
    assert format_of(tmp_path / "s").name == "DICOM"
    with pytest.raises(BadArgument, match="not written"):
        write(image, tmp_path / "x.dcm")


@pytest.mark.parametrize(
    "options",
    [
        {"on_gap": "guess"},
        {"duplicates": "all"},
        {"mixed": "first"},
        {"tilt": "no"},
        {"ndim": 4},
        {"tolerance": 2.0},
        {"thickness": 0.0},
        {"classes": 3},
        {"by": "PatientID"},
    ],
)
def test_options_out_of_their_domain(tmp_path, options):
    Maker(VOLUME).write(tmp_path)
    with pytest.raises(BadArgument, match=next(iter(options)) + "|told apart"):
        read(tmp_path, **options)
