"""State and weights on their way to files, and the choice of a precision."""

import math

import pytest
import torch
from torch import nn

from medframe.base import BadArgument, BadFile, Incompatible, NotFinite
from medframe.engines import bare, choose_precision, read_weights, write_weights
from medframe.engines.state import join_state, split_state


def test_split_and_join_are_inverse():
    a, b = torch.arange(3), torch.ones(2, 2)
    state = {"x": {"a.b": a, "n": 1}, "list": [b, None, "text", 1.5], "empty": {}, "flag": True}
    tensors, rest = split_state(state)
    assert set(tensors) == {"x/a.b", "list/0"}
    back = join_state(tensors, rest)
    assert back["x"]["a.b"] is not None
    assert torch.equal(back["x"]["a.b"], a)
    assert torch.equal(back["list"][0], b)
    assert back["list"][1:] == [None, "text", 1.5]
    assert (back["empty"], back["flag"]) == ({}, True)
    with pytest.raises(BadFile, match=r"list/0"):
        join_state({"x/a.b": a}, rest)
    with pytest.raises(BadArgument, match="same path"):
        split_state({"a/b": a, "a": {"b": b}})


def test_weights_go_through_a_file(tmp_path, tiny_net):
    net, other = tiny_net(0), tiny_net(1)
    write_weights(tmp_path / "w", torch.compile(net, backend="eager"), {"score": 0.5})
    assert read_weights(tmp_path / "w", other) == {"score": 0.5}
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))
    with pytest.raises(Incompatible, match="another network"):
        read_weights(tmp_path / "w", nn.Conv3d(1, 1, 1))
    assert bare(torch.compile(net, backend="eager")) is net


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_not_written(tmp_path, tiny_net, value):
    net = tiny_net()
    write_weights(tmp_path / "w", net)
    before = (tmp_path / "w").read_bytes()
    net.head.bias.data[1] = value
    with pytest.raises(NotFinite, match=r"head\.bias"):
        write_weights(tmp_path / "w", net)
    assert (tmp_path / "w").read_bytes() == before


class TestPrecision:
    def test_float32_is_the_measure_and_the_model_is_left_alone(self, tiny_net, batch_at):
        net = tiny_net()
        before = {k: v.clone() for k, v in net.state_dict().items()}
        choice = choose_precision(net, batch_at(0), nn.CrossEntropyLoss(), ("bfloat16", "float32"), repeats=2)
        assert [t.precision for t in choice.trials] == ["float32", "bfloat16"]
        exact, low = choice.trials
        assert exact.loss_gap == 0
        assert abs(exact.gradient_gap) < 1e-6
        assert 0 < low.loss_gap < 0.05
        assert 0 < low.gradient_gap < 0.05
        assert choice.precision in ("float32", "bfloat16")
        assert [t.verdict for t in choice.trials].count("chosen") == 1
        assert len(str(choice).splitlines()) == 3
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
        assert all(p.grad is None for p in net.parameters())

    def test_the_fastest_that_agrees_wins(self, batch_at):
        import time

        class Slow(nn.Module):
            """Slow in float32, wrong in bfloat16, right in float16."""

            def __init__(self):
                super().__init__()
                self.conv = nn.Conv3d(1, 2, 1)

            def forward(self, x):
                y = self.conv(x)
                if y.dtype == torch.float32:
                    time.sleep(0.03)
                return 50 * y if y.dtype == torch.bfloat16 else y

        choice = choose_precision(Slow(), batch_at(0), nn.CrossEntropyLoss(), repeats=1)
        assert choice.precision == "float16"
        assert "differs" in choice.trials[1].verdict

    def test_candidates_take_turns_and_one_that_fails_later_is_refused(self, batch_at):
        seen = []

        class Noting(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv3d(1, 2, 1)

            def forward(self, x):
                y = self.conv(x)
                seen.append(str(y.dtype).removeprefix("torch."))
                if y.dtype == torch.bfloat16 and seen.count("bfloat16") == 3:
                    raise RuntimeError("out of memory\nand more")
                return y

        choice = choose_precision(Noting(), batch_at(0), nn.CrossEntropyLoss(), ("float32", "bfloat16"), repeats=4)
        turn = ["float32", "bfloat16"]
        assert seen == [*turn, *turn, *turn, "float32", "float32"]  # warm, twice in turns, and the rest alone
        assert choice.precision == "float32"
        assert choice.trials[1].verdict == "refused: out of memory"

    def test_noise_does_not_choose(self, batch_at):
        net = nn.Conv3d(1, 2, 1)
        assert choose_precision(net, batch_at(0), nn.CrossEntropyLoss(), repeats=1, gain=0.999).precision == "float32"

    def test_not_finite_and_unknown_operations_are_refused(self, batch_at):
        class Picky(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv3d(1, 2, 1)

            def forward(self, x):
                y = self.conv(x)
                if y.dtype == torch.bfloat16:
                    raise RuntimeError("not implemented for 'BFloat16'")
                return y * math.inf if y.dtype == torch.float16 else y

        choice = choose_precision(Picky(), batch_at(0), nn.CrossEntropyLoss(), repeats=1)
        assert choice.precision == "float32"
        assert "BFloat16" in choice.trials[1].verdict
        assert "not finite" in choice.trials[2].verdict

    def test_a_bad_batch_or_name_is_an_error(self, tiny_net, batch_at):
        batch = batch_at(0)
        batch["image"][:] = math.nan
        with pytest.raises(BadArgument, match="not finite"):
            choose_precision(tiny_net(), batch, nn.CrossEntropyLoss(), ("float32",))
        with pytest.raises(BadArgument, match="no such precision"):
            choose_precision(tiny_net(), batch_at(0), nn.CrossEntropyLoss(), ("half",))
