"""The NIfTI and path cases of the corpus of bad inputs: each ends as its manifest says, judged at world points."""

import os
import pickle
import resource
import time
import warnings

import numpy as np
import pytest

from medframe.base.errors import BadFile, MedframeError, MedframeWarning
from medframe.image import Image, LabelMap
from medframe.io import read


def outcome(folder, case):
    """(class, image or error, warned) of one case; anything but our own errors escapes and fails the test."""
    kind = LabelMap if case["kind"] == "label" else Image
    options = {"classes": case["num_classes"]} if "num_classes" in case else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            image = read(folder / case["path"], kind, **options)
            image.data  # noqa: B018  # the voxels are read and checked here
        except MedframeError as error:
            return "clear_error", error, False
    assert all(issubclass(w.category, MedframeWarning) for w in caught)
    return "reads", image, bool(caught)


def wrong_values(image, values):
    wrong = []
    if list(image.space.shape) != values["shape"]:
        wrong.append(f"shape {image.space.shape}")
    if not np.allclose(image.space.spacing, values["spacing"], rtol=1e-5):
        wrong.append(f"spacing {image.space.spacing}")
    for place, due, channel in values.get("probes", ()):
        index = image.space.to_index(place)
        nearest = np.rint(index).astype(int)
        found = image.data[(channel or 0, *nearest)].item()
        # whole numbers exactly, scaled ones to the precision of the header's single-precision slope
        right = found == due if isinstance(due, int) else np.isclose(found, due, rtol=1e-6)
        if np.abs(index - nearest).max() > 1e-3 or not right:
            wrong.append(f"{found} at {place}, due {due}")
    if "nan_count" in values and int(image.data.isnan().sum()) != values["nan_count"]:
        wrong.append("number of NaN")
    if "channels" in values and image.channels != values["channels"]:
        wrong.append(f"{image.channels} channels")
    return wrong


def judge(folder, case):
    start = time.monotonic()
    verdict, result, warned = outcome(folder, case)
    wrong = [] if verdict in (case["expect"], *case["also_ok"]) else [verdict]
    if time.monotonic() - start > case["limits"]["seconds"]:
        wrong.append("too slow")
    if verdict == "clear_error":
        parts = (result.where, result.found, result.due, result.mend)
        wrong += [] if all(parts) else [f"an error without all parts: {result}"]
        copy = pickle.loads(pickle.dumps(result))
        wrong += [] if (type(copy), str(copy)) == (type(result), str(result)) else ["does not pickle"]
    elif not wrong:
        wrong += wrong_values(result, case["values"]) if case["values"] else []
        if case["need_warning"] and not (warned or result.meta["notes"]):
            wrong.append("assumed something without a word")
    return wrong


def test_every_case_ends_as_the_manifest_says(corpus):
    folder, cases = corpus
    mine = [
        case
        for case in cases.values()
        if case["kind"] in ("image", "label") and case["path"] and case["path"].startswith(("nifti/", "fs/"))
    ]
    assert len(mine) > 90
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    failed = {}
    for case in mine:
        if case.get("needs_nonroot"):
            continue  # below
        wrong = judge(folder, case)
        if wrong:
            failed[case["id"]] = wrong
    assert not failed
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # kB; 140 TB were claimed


def test_what_may_not_be_opened_is_a_clear_error(tmp_path, monkeypatch):
    path = tmp_path / "noperm.nii"
    path.write_bytes(b"\0" * 400)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    # a root user may open anything, so the refusal is made here
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(BadFile, match=r"noperm\.nii.*Permission denied"):
        read(path)


def test_free_text_of_the_header_goes_nowhere(corpus, tmp_path):
    folder, cases = corpus
    image = read(folder / cases["nii_phi_descrip"]["path"])
    kept = [repr(image), repr(dict(image.meta)), repr(image._source), str(image.space)]
    kept += [pickle.dumps(image).decode("latin-1")]
    assert not [text for text in kept if "CANARY" in text or "DOE" in text]
    assert set(image.meta) == {"file", "format", "dtype", "form", "notes"}
    from medframe.io import write

    write(image, tmp_path / "out.nii")
    assert b"CANARY" not in (tmp_path / "out.nii").read_bytes()


def test_messages_show_no_full_path(corpus):
    folder, cases = corpus
    assert os.fspath(folder).count(os.sep) > 2
    for name in ("nii_short", "nii_affine_nan", "nii_gz_badcrc", "lab_nan", "fs_missing"):
        _, error, _ = outcome(folder, cases[name])
        assert os.fspath(folder) not in str(error)
