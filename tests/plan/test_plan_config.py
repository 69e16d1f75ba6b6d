"""Settings: every line read back equals what was written, and mistakes are told by name."""

import numpy as np
import pytest

from medframe.base import BadConfig
from medframe.data import Cohort, Record
from medframe.plan.config import RunConfig, parse_overrides, read_config, write_config
from medframe.plan.pipeline import build_network, class_values, fixed_steps, oriented, random_steps
from medframe.plan.rules import plan
from medframe.plan.survey import CaseFacts, Survey


def test_round_trip_with_reasons(tmp_path):
    config = RunConfig(
        dataset="d: with colon",
        classes={0: "background", 3: "liver #1"},
        channels=("CT",),
        normalise=("ct",),
        intensity=((-100.0, 200.0, 50.0, 30.0),),
        minutes=None,
        steps=10,
        strides=((1, 1, 1), (2, 2, 1)),
        flip="RA",
    )
    write_config(tmp_path / "run.yaml", config, {"flip": "because"})
    assert read_config(tmp_path / "run.yaml") == config
    assert "flip: RA  # because" in (tmp_path / "run.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bach=4"], "Did you mean 'batch'"),
        (["batch=four"], "batch.*'four'.*int"),
        (["batch=2.5"], "batch"),
        (["patch=32"], "patch"),
        (["optimiser=adam"], "adamw or sgd"),
        (["overlap=1.0"], "share"),
        (["batch"], "name=value"),
        (["batch=[1"], "YAML"),
        (["fold=9"], "fold"),
        (["deep_supervision=1"], "bool"),
        (["rotate=[1, 2, 3]"], "rotate"),
    ],
)
def test_mistakes_are_told_by_name(words, message):
    with pytest.raises(BadConfig, match=message):
        RunConfig().changed(parse_overrides(words))


def test_steps_replace_minutes():
    assert RunConfig().changed({"steps": 5}).minutes is None


@pytest.mark.parametrize("text", ["[1, 2", "format: 99", "just text", "format: 1\nunknown: 2", "format: 1\nbatch: x"])
def test_bad_files_are_refused(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(BadConfig):
        read_config(path)
    with pytest.raises(BadConfig, match="cannot be read"):
        read_config(tmp_path / "absent.yaml")


def facts(k, shape, spacing, filled=1.0):
    return CaseFacts(f"c{k}", shape, spacing, "RAS", "int16", filled, (0.0,), (100.0,), {0: 900, 1: 100})


def planned(shapes, spacings, *, channels=("MRI",), classes=None, device="cpu", overrides=None, filled=1.0):
    cases = tuple(facts(k, s, p, filled) for k, (s, p) in enumerate(zip(shapes, spacings, strict=True)))
    records = tuple(Record(f"c{k}", ("x.nii",)) for k in range(len(cases)))
    cohort = Cohort("name", ".", records, classes or {0: "background", 1: "organ"}, channels)
    found = Survey(cases, ((-50.0, 150.0, 40.0, 30.0),))
    return plan(cohort, found, device=device, overrides=overrides or {}, fold=0, minutes=15.0)


def test_small_cases_are_seen_whole():
    config, why = planned([(35, 50, 36)] * 20, [(1.0, 1.0, 1.0)] * 20)
    assert config.patch == (32, 48, 32)
    assert config.foreground == 0.0
    assert config.spacing == (1.0, 1.0, 1.0)
    assert config.monitor == 2
    assert len(config.strides) == len(config.kernels) == len(config.features)
    assert "median" in why["patch"]


def test_every_setting_has_a_reason():
    config, why = planned([(64, 64, 64)] * 3, [(1.0, 1.0, 1.0)] * 3)
    silent = set(vars(config)) - set(why)
    assert silent == set(), f"no reason given for {silent}"


def test_thick_slices_keep_their_axis():
    config, _ = planned([(256, 256, 20)] * 12, [(0.8, 0.8, 6.0)] * 12)
    assert config.strides[1] == (2, 2, 1)
    assert config.kernels[0] == (3, 3, 1)
    assert np.prod(config.patch) <= 1.1 * 96 * 1024
    assert config.foreground > 0
    multiple = np.prod(np.array(config.strides), axis=0)
    assert (np.array(config.patch) % multiple == 0).all()


def test_a_far_coarser_axis_takes_the_tenth_percentile():
    spacings = [(1.0, 1.0, 5.0)] * 9 + [(1.0, 1.0, 3.0)] * 3
    config, why = planned([(100, 100, 30)] * 12, spacings)
    assert config.spacing == (1.0, 1.0, 3.0)
    assert "10th percentile" in why["spacing"]


def test_ct_is_clipped_to_labelled_voxels_and_margins_are_cut():
    config, _ = planned([(64, 64, 64)] * 4, [(2.0, 2.0, 2.0)] * 4, channels=("CT",), filled=0.4)
    assert config.normalise == ("ct",)
    assert config.crop == "nonzero"
    steps = [type(s).__name__ for s in fixed_steps(config, labelled=True).steps]
    assert steps[:4] == ["Load", "Orientation", "CropForeground", "Spacing"]


def test_settings_given_by_the_user_are_heard_by_the_rules():
    config, why = planned([(64, 64, 64)] * 4, [(1.0, 1.0, 1.0)] * 4, overrides={"patch": [24, 24, 24]})
    assert config.patch == (24, 24, 24)
    assert len(config.strides) == 3
    assert why["patch"] == "given on the command line"


def test_two_dimensions():
    cases = tuple(
        CaseFacts(f"c{k}", (200, 180), (0.5, 0.5), "RA", "uint8", 1.0, (0.0,), (9.0,), {1: 5}) for k in range(4)
    )
    records = tuple(Record(f"c{k}", ("x.png",)) for k in range(4))
    config, _ = plan(
        Cohort("flat", ".", records, {}, ()),
        Survey(cases, ((0.0, 1.0, 0.5, 0.2),)),
        device="cpu",
        overrides={},
        fold=0,
        minutes=1.0,
    )
    assert config.classes == {0: "background", 1: "class 1"}
    assert config.orientation == "RA"
    network = build_network(config)
    assert sum(p.numel() for p in network.parameters()) > 0


def test_classes_with_gaps_are_counted_through():
    config = RunConfig(
        classes={0: "background", 5: "a", 90: "b"},
        strides=((1, 1, 1), (2, 2, 2)),
        kernels=((3,) * 3,) * 2,
        features=(4, 8),
    )
    assert class_values(config) == (0, 5, 90)
    assert "Remap(((0, 0), (5, 1), (90, 2)))" in repr(fixed_steps(config, labelled=True))
    again = build_network(config).state_dict()
    first = build_network(config).state_dict()
    assert all((again[k] == first[k]).all() for k in first)


def test_random_steps_follow_the_settings():
    config = RunConfig(flip="RS", elastic=(0.0, 4.0), intensity_p=0.0, spatial_p=0.5, foreground=0.5)
    names = [type(s).__name__ for s in random_steps(config).steps]
    assert names == ["CropByLabel", "Flip", "Flip", "Rotate", "Scale", "Elastic"]
    assert oriented("LA", "RAS") == "RA"
