"""What Save writes lies under its own name, and nothing that stands there is lost unless asked for."""

import pytest
import torch

from medframe.base import BadArgument, WriteFailed
from medframe.image import Image, LabelMap
from medframe.io import read
from medframe.transforms import Save


def sample(case="c1", value=1):
    image = Image(torch.full((1, 4, 5, 6), float(value)))
    return {"case": case, "prediction": LabelMap(torch.full((1, 4, 5, 6), value)), "image": image}


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_names_hold_case_and_key(tmp_path):
    Save(str(tmp_path))(sample("c1"))
    Save(str(tmp_path), members=("prediction", "image"), suffix=".nii")(sample("c2"))
    assert names(tmp_path) == ["c1.nii.gz", "c2_image.nii", "c2_prediction.nii"]
    assert read(tmp_path / "c1.nii.gz", LabelMap).dtype == torch.uint8
    assert read(tmp_path / "c2_image.nii").dtype == torch.float32


def test_what_stands_there_stays_unless_asked(tmp_path):
    Save(str(tmp_path))(sample(value=1))
    with pytest.raises(WriteFailed, match="exists"):
        Save(str(tmp_path))(sample(value=2))
    assert read(tmp_path / "c1.nii.gz").data.max() == 1
    Save(str(tmp_path), overwrite=True)(sample(value=2))
    assert read(tmp_path / "c1.nii.gz").data.max() == 2


def test_two_cases_that_would_share_a_name_are_an_error(tmp_path):
    first = {**sample("a_b"), "c": sample()["image"]}
    second = {**sample("a"), "b_c": sample()["image"]}
    Save(str(tmp_path), members=("c", "prediction"))(first)
    with pytest.raises(WriteFailed, match=r"a_b_c\.nii\.gz"):
        Save(str(tmp_path), members=("b_c", "prediction"))(second)


@pytest.mark.parametrize("case", ["../c", "a/b", "", ".."])
def test_a_case_stays_in_its_folder(tmp_path, case):
    with pytest.raises(BadArgument):
        Save(str(tmp_path / "out"))(sample(case))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("members", [(), ("a", "a"), ("a", "A")])
def test_each_member_is_written_once(members):
    with pytest.raises(BadArgument):
        Save(members=members)
