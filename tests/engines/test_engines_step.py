"""The training step against plain PyTorch loops and closed forms."""

import copy
import math

import pytest
import torch
from torch import nn

from medframe.base import BadArgument, Incompatible, MedframeWarning, NotFinite
from medframe.base.container import read_container, write_container
from medframe.engines import EvalStep, TrainStep, ignite_engine, set_total_steps, trainer
from medframe.engines.state import join_state, split_state
from medframe.image import Image, LabelMap, collate
from medframe.inferers import SlidingWindow, WholeImage

Events = ignite_engine().Events
CE = nn.CrossEntropyLoss()


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def same_state(a, b):
    tensors_a, rest_a = split_state(a)
    tensors_b, rest_b = split_state(b)
    return (
        rest_a == rest_b
        and set(tensors_a) == set(tensors_b)
        and all(torch.equal(tensors_a[k], tensors_b[k]) for k in tensors_a)
    )


class Line(nn.Module):
    """logits = weight * image: gradients by hand."""

    def __init__(self, value=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value]))

    def forward(self, x):
        return x * self.weight


def numbers(*values, label=0.0):
    return {"image": torch.tensor(values).reshape(-1, 1, 1), "label": torch.full((len(values), 1, 1), label)}


def mean_of(output, label):
    return (output - label).mean()  # its gradient by the weight is the mean of the image


def test_a_step_is_that_of_a_plain_loop(tiny_net, batch_at):
    ours, plain = tiny_net(dropout=0), tiny_net(dropout=0)
    step = TrainStep(ours, CE, torch.optim.SGD(ours.parameters(), 0.1, momentum=0.9))
    optimiser = torch.optim.SGD(plain.parameters(), 0.1, momentum=0.9)
    for k in range(3):
        batch = batch_at(k)
        out = step(None, batch)
        optimiser.zero_grad()
        loss = CE(plain(batch["image"]), batch["label"])
        loss.backward()
        optimiser.step()
        assert out == {"loss": loss.item(), "cases": batch["case"]}
    assert torch.equal(weights(ours), weights(plain))
    assert (step.iterations, step.updates, step.samples, step.pending) == (3, 3, 6, 0)


def test_gradients_of_a_group_are_averaged_and_the_last_group_may_be_short():
    line = Line()
    step = TrainStep(line, mean_of, torch.optim.SGD(line.parameters(), 1.0), accumulate=3)
    engine = trainer(step)
    seen = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(step.model.weight.item()))
    data = [numbers(float(v)) for v in (1, 2, 6, 4, 4, 1, 10)]
    engine.run(data, max_iters=7, epoch_length=2)
    # groups (1, 2, 6), (4, 4, 1) and (10): means 3, 3 and 10, with a learning rate of 1
    assert seen == [1, 1, -2, -2, -2, -5, -15]
    assert step.updates == 3


def test_the_end_may_move_while_a_group_is_open():
    line = Line()
    step = TrainStep(line, mean_of, torch.optim.SGD(line.parameters(), 1.0), accumulate=4)
    engine = trainer(step)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda e: set_total_steps(e, 3))
    engine.run([numbers(3.0)] * 8, max_iters=8, epoch_length=8)
    assert (step.iterations, step.updates, step.pending) == (3, 1, 0)
    assert line.weight.item() == -2


def test_clipping_bounds_the_norm_of_all_gradients_together(tiny_net, batch_at):
    ours, plain = tiny_net(dropout=0), tiny_net(dropout=0)
    TrainStep(ours, CE, torch.optim.SGD(ours.parameters(), 1.0), clip=0.01)(None, batch_at(0))
    batch = batch_at(0)
    CE(plain(batch["image"]), batch["label"]).backward()
    grads = [p.grad for p in plain.parameters()]
    norm = math.sqrt(sum(float(g.double().square().sum()) for g in grads))
    assert norm > 0.01
    due = weights(plain) - torch.cat([g.flatten() for g in grads]) * 0.01 / norm
    assert torch.allclose(weights(ours), due, atol=1e-6)


def test_ema_is_the_weighted_mean_of_all_updates_by_hand():
    line = Line(0.0)
    step = TrainStep(line, mean_of, torch.optim.SGD(line.parameters(), 1.0), ema=0.5)
    for value in (-1.0, -2.0, -4.0):  # weights 1, 3, 7
        step(None, numbers(value))
    assert line.weight.item() == 7
    assert step.eval_model.weight.item() == pytest.approx((0.25 * 1 + 0.5 * 3 + 1 * 7) / 1.75)
    assert not step.eval_model.training
    assert not step.eval_model.weight.requires_grad
    assert TrainStep(line, mean_of, torch.optim.SGD(line.parameters(), 1.0)).eval_model is line


def test_ema_averages_running_statistics_and_copies_counters(tiny_net, batch_at):
    net = tiny_net()
    step = TrainStep(net, CE, torch.optim.SGD(net.parameters(), 0.1), ema=0.9)
    means = []
    for k in range(4):
        step(None, batch_at(k))
        means.append(net.body[1].running_mean.double().clone())
    shares = [0.9 ** (3 - i) for i in range(4)]
    due = sum(s * m for s, m in zip(shares, means, strict=True)) / sum(shares)
    assert torch.allclose(step.eval_model.body[1].running_mean.double(), due, atol=1e-6)
    assert step.eval_model.body[1].num_batches_tracked == 4


def test_low_precision_runs_the_network_but_not_the_loss(tiny_net, batch_at):
    net, seen = tiny_net(), []
    net.head.register_forward_hook(lambda m, i, o: seen.append(o.dtype))

    def loss(output, label):
        seen.append(output.dtype)
        return CE(output, label)

    TrainStep(net, loss, torch.optim.SGD(net.parameters(), 0.1), precision="bfloat16")(None, batch_at(0))
    assert seen == [torch.bfloat16, torch.float32]
    assert all(p.dtype == torch.float32 for p in net.parameters())


def test_float16_leaves_out_an_update_that_overflows_and_lowers_the_scale():
    line = Line()
    step = TrainStep(line, mean_of, torch.optim.SGD(line.parameters(), 1e-3), precision="float16", ema=0.5)
    before = step.scaler.get_scale()
    big = {"image": torch.full((1, 1, 1), 1e35), "label": torch.zeros(1, 1, 1)}  # times 65536 is beyond float32
    step(None, big)
    assert step.scaler.get_scale() == before / 2
    assert line.weight.item() == 1
    assert (step.iterations, step.updates, step.ema.updates) == (1, 0, 0)
    step(None, numbers(2.0))
    assert line.weight.item() == pytest.approx(1 - 2e-3)
    assert step.updates == 1


def test_float16_gives_up_when_lowering_the_scale_does_not_help():
    line = BadGradient()
    step = TrainStep(line, mean_of, torch.optim.SGD(line.parameters(), 1.0), precision="float16")
    for _ in range(16):
        step(None, numbers(1.0))
    with pytest.raises(NotFinite, match="weight"):
        step(None, numbers(1.0))


class BadGradient(Line):
    """A finite output whose gradient by the weight is infinite: the root at 0."""

    def __init__(self):
        super().__init__(0.0)

    def forward(self, x):
        return x * self.weight.sqrt()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_stops(precision, clip):
    net = BadGradient()
    step = TrainStep(net, mean_of, torch.optim.SGD(net.parameters(), 1.0), precision=precision, clip=clip)
    with pytest.raises(NotFinite, match=r"step 1: .*gradient of weight.*sample 0, sample 1.*No checkpoint"):
        step(None, numbers(1.0, 2.0))
    assert net.weight.item() == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bad_input_is_named_by_its_case(tiny_net, batch_at, value):
    net = tiny_net()
    step = TrainStep(net, CE, torch.optim.SGD(net.parameters(), 0.1))
    step(None, batch_at(0))
    before, batch = weights(net).clone(), batch_at(1)
    batch["image"][1, 0, 3, 3, 3] = value
    engine = trainer(step)
    engine.state.last_checkpoint = "run/checkpoint-000000001.safetensors"
    with pytest.raises(NotFinite) as caught:
        step(engine, batch)
    text = str(caught.value)
    assert "step 2" in text
    assert "the input of case-3 holds" in text
    assert "case-2" not in text
    assert "checkpoint-000000001" in text
    assert torch.equal(weights(net), before)
    assert step.iterations == 1


def test_a_bad_output_and_a_bad_loss_are_told_apart():
    line = Line()
    step = TrainStep(line, mean_of, torch.optim.SGD(line.parameters(), 1.0))
    line.weight.data.fill_(1e38)
    with pytest.raises(NotFinite, match="the output of sample 1 holds"):
        step(None, numbers(0.5, 1e3))
    line.weight.data.fill_(1.0)
    with pytest.raises(NotFinite, match="finite input and output; batch: sample 0, sample 1"):
        step(None, numbers(0.5, 1e3, label=math.inf))


def test_case_ids_come_from_the_batch_or_from_the_images():
    image = lambda case: Image(torch.ones(1, 4, 4), meta={"case": case})  # noqa: E731
    label = LabelMap(torch.zeros(1, 4, 4, dtype=torch.int64))
    line = Line()
    step = TrainStep(line, mean_of, torch.optim.SGD(line.parameters(), 1.0))
    batch = collate([{"image": image(c), "label": label} for c in ("a", "b")])
    assert step(None, batch)["cases"] == ["a", "b"]
    named = collate([{"image": image(c), "label": label, "case": f"x{c}"} for c in ("a", "b")])
    assert step(None, named)["cases"] == ["xa", "xb"]


def test_chance_depends_on_seed_and_iteration_alone(tiny_net, batch_at):
    def losses(seed, first, last, state=None, disturb=False):
        net = tiny_net()
        step = TrainStep(net, CE, torch.optim.SGD(net.parameters(), 0.1), seed=seed)
        if state is not None:
            step.load_state_dict(state)
        out = []
        for k in range(first, last):
            if disturb:
                torch.rand(7)
            out.append(step(None, batch_at(k))["loss"])
        return out, copy.deepcopy(step.state_dict())

    whole, _ = losses(0, 0, 6)
    assert losses(0, 0, 6, disturb=True)[0] == whole
    assert losses(1, 0, 6)[0] != whole
    begun, state = losses(0, 0, 2)
    assert begun + losses(0, 2, 6, state, disturb=True)[0] == whole


def test_the_callers_random_numbers_are_left_alone(tiny_net, batch_at):
    net = tiny_net()
    step = TrainStep(net, CE, torch.optim.SGD(net.parameters(), 0.1))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    step(None, batch_at(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_sequences_of_logits_reach_the_loss(batch_at):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv3d(1, 2, 1)

        def forward(self, x):
            y = self.conv(x)
            return (y, y[..., ::2, ::2, ::2])

    seen = []

    def loss(outputs, label):
        seen.extend((tuple(o.shape), o.dtype) for o in outputs)
        return CE(outputs[0], label)

    net = Two()
    TrainStep(net, loss, torch.optim.SGD(net.parameters(), 0.1), precision="bfloat16")(None, batch_at(0))
    assert seen == [((2, 2, 8, 8, 8), torch.float32), ((2, 2, 4, 4, 4), torch.float32)]


OPTIMISERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=1e-4),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2, betas=(0.8, 0.9)),
    "adam-amsgrad": lambda p: torch.optim.Adam(
        [{"params": [next(ps := iter(p))], "lr": 1e-3}, {"params": list(ps)}], 1e-2, amsgrad=True
    ),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("how", [(1, "float32"), (3, "float32"), (2, "float16")])
def test_state_through_a_file_continues_to_the_bit(tmp_path, tiny_net, batch_at, optimiser, how):
    accumulate, precision = how

    def fresh():
        net = tiny_net()
        made = OPTIMISERS[optimiser](net.parameters())
        return TrainStep(net, CE, made, accumulate=accumulate, precision=precision, clip=1.0, ema=0.9)

    steps = 6
    whole = fresh()
    losses = [whole(None, batch_at(k))["loss"] for k in range(steps)]
    for stop in range(1, steps):
        first = fresh()
        got = [first(None, batch_at(k))["loss"] for k in range(stop)]
        tensors, rest = split_state(first.state_dict())
        write_container(tmp_path / "state", "test", tensors, {"rest": rest})
        stored = read_container(tmp_path / "state", "test")
        second = fresh()
        second.load_state_dict(join_state(stored.tensors, stored.json["rest"]))
        assert same_state(first.state_dict(), second.state_dict())
        got += [second(None, batch_at(k))["loss"] for k in range(stop, steps)]
        assert got == losses
        assert same_state(second.state_dict(), whole.state_dict())


def test_a_resumed_step_keeps_the_memory_format(batch_at):
    def fresh():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv3d(1, 4, 1), nn.Conv3d(4, 2, 3, padding=1)).to(memory_format=torch.channels_last_3d)
        return TrainStep(net, CE, torch.optim.AdamW(net.parameters(), 0.1), accumulate=2)

    def is_last(tensor):
        return tensor.is_contiguous(memory_format=torch.channels_last_3d) and not tensor.is_contiguous()

    first, second = fresh(), fresh()
    for k in range(3):
        first(None, batch_at(k))
    tensors, rest = split_state(first.state_dict())
    second.load_state_dict(join_state({k: t.contiguous() for k, t in tensors.items()}, rest))
    weight = second.model[1].weight
    moment = second.optimiser.state[weight]["exp_avg"]
    assert is_last(weight)
    assert is_last(weight.grad)
    assert is_last(moment)
    due = first.optimiser.state[first.model[1].weight]["exp_avg"]
    assert torch.equal(moment, due)
    assert moment.data_ptr() != due.data_ptr()


def test_another_network_or_optimiser_is_refused_and_nothing_changed(tiny_net, batch_at):
    net = tiny_net()
    step = TrainStep(net, CE, torch.optim.SGD(net.parameters(), 0.1, momentum=0.9))
    step(None, batch_at(0))
    state = step.state_dict()
    wide = nn.Sequential(nn.Conv3d(1, 4, 3))
    other = TrainStep(wide, CE, torch.optim.SGD(wide.parameters(), 0.1))
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(Incompatible, match=r"0.weight missing instead of \(4, 1, 3, 3, 3\)"):
        other.load_state_dict(state)
    assert same_state(other.state_dict(), before)
    adam = TrainStep(tiny_net(), CE, torch.optim.Adam(tiny_net().parameters()))
    with pytest.raises(Incompatible, match=r"SGD.*Adam"):
        adam.load_state_dict(state)


def test_another_precision_is_said_aloud(tiny_net, batch_at):
    net = tiny_net()
    step = TrainStep(net, CE, torch.optim.SGD(net.parameters(), 0.1))
    step(None, batch_at(0))
    other = tiny_net()
    low = TrainStep(other, CE, torch.optim.SGD(other.parameters(), 0.1), precision="bfloat16", ema=0.9)
    with pytest.warns(MedframeWarning) as told:
        low.load_state_dict(step.state_dict())
    assert [str(w.message).split()[0] for w in told] == ["training", "the"]
    assert torch.equal(weights(low.eval_model), weights(net))


@pytest.mark.parametrize(
    "settings",
    [{"accumulate": 0}, {"clip": 0.0}, {"clip": math.nan}, {"ema": 1.0}, {"ema": -0.1}, {"precision": "half"}],
)
def test_bad_settings_are_refused(tiny_net, settings):
    net = tiny_net()
    with pytest.raises(BadArgument):
        TrainStep(net, CE, torch.optim.SGD(net.parameters(), 0.1), **settings)


def test_a_loss_that_is_no_number_and_an_answer_that_is_no_tensor_are_refused(tiny_net, batch_at):
    net = tiny_net()
    with pytest.raises(BadArgument, match="no single number"):
        TrainStep(net, nn.CrossEntropyLoss(reduction="none"), torch.optim.SGD(net.parameters(), 0.1))(None, batch_at(0))
    net.head.register_forward_hook(lambda m, i, o: {"logits": o})
    with pytest.raises(BadArgument, match="no tensor"):
        TrainStep(net, CE, torch.optim.SGD(net.parameters(), 0.1))(None, batch_at(0))


@pytest.mark.parametrize("inferer", [WholeImage(), SlidingWindow(4, margin=1)])
def test_evaluation_is_that_of_the_whole_image_and_leaves_modes_alone(tiny_net, batch_at, inferer):
    net = tiny_net()
    net.train()
    net.body[1].eval()  # frozen statistics stay frozen
    batch = batch_at(0)
    out = EvalStep(net, inferer)(None, batch)
    assert net.training
    assert not net.body[1].training
    assert net.body[2].training
    assert out["cases"] == batch["case"]
    assert out["batch"] is batch
    with torch.no_grad():
        assert torch.allclose(out["output"], net.eval()(batch["image"]), atol=1e-5)
