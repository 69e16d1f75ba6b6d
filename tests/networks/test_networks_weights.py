import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medframe.base.errors import BadArgument, BadFile, Incompatible, NotFinite, TooLarge
from medframe.base.tensor_files import read_tensor_file
from medframe.networks import UNet
from medframe.networks.weights import freeze, load_weights, parameter_groups, unfreeze


def small(in_channels=1, out_channels=2, seed=0):
    torch.manual_seed(seed)
    net = UNet(2, in_channels, out_channels, (4, 8), (2,), norm="batch").eval()
    with torch.no_grad():
        for t in net.state_dict().values():
            if t.is_floating_point():
                t.add_(torch.rand_like(t))
    return net


def same(a, b):
    return all(torch.equal(t, b.state_dict()[n]) for n, t in a.state_dict().items())


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth"])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {f"module.{n}": t for n, t in s.items()}])
def test_reads_what_was_saved(tmp_path, suffix, wrap):
    source, net = small(seed=1), small()
    path = tmp_path / f"net.{suffix}"
    state = wrap(source.state_dict())
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    report = load_weights(net, path)
    assert same(net, source)
    assert report.complete
    assert len(report.loaded) == len(state)
    assert str(report) == f"{len(state)} loaded, 0 adapted, 0 mismatched, 0 missing, 0 unused"


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"epoch": 3, "state_dict": {f"net.{n}": t for n, t in s.items()}},
        lambda s: {"model": {"state_dict": {f"module.model.{n}": t for n, t in s.items()}}, "optimizer": {"lr": 0.1}},
        lambda s: {"network_weights": s, "logging": {"best": torch.zeros(1).double().numpy().sum()}, "name": "x"},
    ],
)
def test_unwraps_checkpoints(tmp_path, wrap, legacy):
    source, net = small(seed=1), small()
    torch.save(wrap(source.state_dict()), tmp_path / "c.pth", _use_new_zipfile_serialization=not legacy)
    assert load_weights(net, tmp_path / "c.pth").complete
    assert same(net, source)


@pytest.mark.parametrize(
    "key_map",
    [
        lambda n: None if n == "step" else n.removeprefix("a_"),
        [(r"^a_", ""), (r"^step$", None)],
    ],
)
def test_key_maps(key_map):
    source, net = small(seed=1), small()
    state = {f"a_{n}": t for n, t in source.state_dict().items()} | {"step": torch.zeros(3)}
    report = load_weights(net, state, key_map=key_map)
    assert same(net, source)
    assert report.dropped == ("step",)
    table = {n: n.removeprefix("a_") for n in state} | {"step": None}
    assert load_weights(small(), state, key_map=table) == report
    with pytest.raises(BadArgument, match="two tensors one name"):
        load_weights(net, state, key_map=lambda n: "x")


def test_prefix_takes_a_part():
    source, net = small(seed=1), small()
    state = {f"student.{n}": t for n, t in source.state_dict().items()} | {"teacher.w": torch.zeros(1)}
    assert load_weights(net, state, prefix="student.").complete
    assert same(net, source)
    with pytest.raises(BadArgument, match="no name in the source"):
        load_weights(net, state, prefix="pupil.")


def test_order_matches_by_shape_and_last_name():
    source, net = small(seed=1), small()
    state = {f"x{i}.{n.rpartition('.')[2]}": t for i, (n, t) in enumerate(source.state_dict().items())}
    state["again.weight"] = next(iter(state.values()))  # the very tensor, not one more
    report = load_weights(net, state, match="order")
    assert same(net, source)
    assert report.aliases == ("again.weight",)
    del state["x0.weight"]
    del state["again.weight"]
    with pytest.raises(Incompatible, match="1 missing"):
        load_weights(net, state, match="order")


def test_differences_are_said_and_nothing_is_changed():
    source, net = small(seed=1), small()
    before = {n: t.clone() for n, t in net.state_dict().items()}
    state = dict(source.state_dict())
    gone = state.pop("down.0.norm.bias")
    state["extra.bias"] = gone
    state["up.0.conv.weight"] = torch.zeros(12, 5, 3, 3)
    with pytest.raises(Incompatible) as caught:
        load_weights(net, state)
    text = str(caught.value)
    for line in (
        f"missing     {'':16}  down.0.norm.bias",
        "unused      extra.bias",
        "mismatched  up.0.conv.weight  up.0.conv.weight  found (12, 5, 3, 3), due (12, 2, 3, 3)",
    ):
        assert line in text
    with pytest.raises(Incompatible, match="1 mismatched"):
        load_weights(net, state, strict=False)
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
    report = load_weights(net, state, strict=False, leave_mismatched=True)
    assert [row[1] for row in report.mismatched] == ["up.0.conv.weight"]
    assert torch.equal(net.up[0].conv.weight, before["up.0.conv.weight"])
    assert torch.equal(net.bottom.conv.weight, source.bottom.conv.weight)
    with pytest.raises(Incompatible, match="none of the weights"):
        load_weights(net, {"foreign": torch.zeros(1)}, strict=False)


@pytest.mark.parametrize(("old", "new"), [(1, 3), (3, 1), (2, 4)])
def test_channels_are_adapted_when_asked(old, new):
    source, net = small(old, seed=1), small(new)
    with pytest.raises(Incompatible, match=r"down\.0\.conv\.weight"):
        load_weights(net, source.state_dict(), strict=False)
    report = load_weights(net, source.state_dict(), adapt_channels=True)
    assert report.adapted == (("down.0.conv.weight",) * 2,)
    # the same picture in every channel gives the same answer
    x = torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(net(x.expand(-1, new, -1, -1)), source(x.expand(-1, old, -1, -1)))


def test_refuses_weights_that_are_not_finite():
    state = small().state_dict()
    state["down.0.conv.weight"][0, 0, 0, 0] = torch.nan
    with pytest.raises(NotFinite, match=r"down\.0\.conv\.weight"):
        load_weights(small(), state)


class Thing:
    pass


def test_refuses_files_that_are_not_weights(tmp_path):
    net = small()
    with pytest.raises(BadFile, match="cannot be opened"):
        load_weights(net, tmp_path / "absent.pt")
    torch.save({"weights": Thing()}, tmp_path / "objects.pt")
    with pytest.raises(BadFile, match="objects that are not tensors"):
        read_tensor_file(tmp_path / "objects.pt")
    torch.save(net.state_dict(), tmp_path / "cut.pt")
    data = (tmp_path / "cut.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: len(data) // 2])
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    for name in ("cut.pt", "cut.safetensors"):
        with pytest.raises(BadFile, match="cannot be read"):
            read_tensor_file(tmp_path / name)
    (tmp_path / "net.txt").write_text("x")
    with pytest.raises(BadFile, match="by its name"):
        read_tensor_file(tmp_path / "net.txt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(BadFile, match="not named"):
        read_tensor_file(tmp_path / "list.pt")
    torch.save({"epoch": 1}, tmp_path / "empty.pt")
    with pytest.raises(BadArgument, match="holds no weights"):
        load_weights(net, tmp_path / "empty.pt")


def test_refuses_archives_that_unpack_to_more_than_they_are(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 20))
    with pytest.raises(TooLarge):
        read_tensor_file(tmp_path / "bomb.pt")
    monkeypatch.setenv("MEDFRAME_IMAGE_LIMIT", "100")
    torch.save(small().state_dict(), tmp_path / "net.pt")
    with pytest.raises(TooLarge, match="larger than the limit"):
        read_tensor_file(tmp_path / "net.pt")


def test_groups_hold_every_parameter_once():
    net = small()
    groups = parameter_groups(net, 1e-2, 0.1, layer_decay=0.5)
    ids = [id(p) for g in groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in net.parameters())
    by_name = {id(p): n for n, p in net.named_parameters()}
    for group in groups:
        for p in group["params"]:
            assert group["weight_decay"] == (0.1 if by_name[id(p)].endswith("conv.weight") else 0.0)
    rates = {by_name[id(p)].split(".")[0]: g["lr"] for g in groups for p in g["params"]}
    assert rates == {"down": 0.0025, "bottom": 0.005, "up": 0.01}
    torch.optim.AdamW(groups).step()
    free = parameter_groups(net, 1e-2, 0.1, no_decay=("bottom.conv.*",), layers=["down", "bottom", "up"])
    assert sum(g["weight_decay"] == 0.1 for g in free) == 2
    with pytest.raises(BadArgument, match="in none of the layers"):
        parameter_groups(net, 1e-2, layers=["down"])
    with pytest.raises(BadArgument, match="out of range"):
        parameter_groups(net, 0.0)


def test_frozen_parameters_do_not_learn():
    net = small()
    frozen = freeze(net, ["down", "bottom.conv.*"])
    assert all(n.startswith(("down.", "bottom.conv.")) for n in frozen)
    assert [n for n, p in net.named_parameters() if not p.requires_grad] == frozen
    assert sum(len(g["params"]) for g in parameter_groups(net, 1.0)) == len(list(net.parameters())) - len(frozen)
    assert unfreeze(net, "down.0") == [n for n in frozen if n.startswith("down.0.")]
    unfreeze(net)
    assert all(p.requires_grad for p in net.parameters())
    with pytest.raises(BadArgument, match=r"'encoder'; expected a part of down\.0, bottom, up\.0"):
        freeze(net, "encoder")


def test_tied_weights_need_only_one_name():
    net = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    net["b"].weight = net["a"].weight
    state = {n: torch.ones_like(t) for n, t in net.state_dict().items() if n != "b.weight"}
    assert load_weights(net, state).complete
    assert bool((net["b"].weight == 1).all())
