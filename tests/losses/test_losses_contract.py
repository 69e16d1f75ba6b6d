"""Every loss against a slow definition in float64, over labels, options and layouts."""

import math
import pickle
from itertools import product

import pytest
import torch

from medframe.base.errors import BadArgument, BadGeometry, BadLabel
from medframe.losses import DeepSupervisionLoss, DiceCELoss, DiceLoss

EPS = 1e-5


def one_hot(labels, classes, ignore=None):
    """(B, *spatial) labels as C lists of truths, by the definition; a single channel stands for label 1."""
    values = [1] if classes == 1 else range(classes)
    keep = torch.ones_like(labels, dtype=torch.bool) if ignore is None else labels != ignore
    return torch.stack([labels == v for v in values], 1).double(), keep


def slow(logits, target, *, ce=None, reduction="mean", include_background=True, activation="softmax", **options):
    """The definition, written out case by case and class by class in double precision."""
    smooth, power = options.get("smooth", EPS), 2 if options.get("squared_pred") else 1
    z = logits.double()
    p = z.softmax(1) if activation == "softmax" else z.sigmoid()
    cases, classes = z.shape[:2]
    t, keep = target, torch.ones_like(target[:, 0], dtype=torch.bool)
    if not target.is_floating_point():
        t, keep = one_hot(target.reshape(cases, *z.shape[2:]).long(), classes, options.get("ignore"))
    weight = options.get("weight") or (1.0,) * classes
    rows = [list(range(cases))] if options.get("batch") else [[b] for b in range(cases)]
    table = torch.zeros(len(rows), classes, dtype=torch.float64)
    for r, c in product(range(len(rows)), range(classes)):
        voxels = [(p[b, c][keep[b]], t[b, c][keep[b]]) for b in rows[r]]
        both = sum((pv * tv).sum() for pv, tv in voxels)
        total = sum((pv**power).sum() + (tv**power).sum() for pv, tv in voxels)
        table[r, c] = 1 - (2 * both + smooth) / (total + smooth)
    first = 0 if include_background else 1
    table, w = table[:, first:], torch.tensor(weight[first:], dtype=torch.float64)
    dice = (table * w).sum()
    if reduction == "none":
        dice = (table * w)[0] if options.get("batch") else table * w
    elif reduction == "mean":
        dice = dice / (w.sum() * len(rows))
    if ce is None:
        return dice
    above, below = 0.0, 0.0
    for b, c in product(range(cases), range(classes)):
        pv, tv = p[b, c][keep[b]], t[b, c][keep[b]]
        if activation == "softmax":
            above, below = above - weight[c] * (tv * pv.log()).sum(), below + weight[c] * tv.sum()
        else:
            log_odds = tv * pv.log() + (1 - tv) * (1 - pv).log()
            above, below = above - weight[c] * log_odds.sum(), below + weight[c] * tv.numel()
    return ce[0] * dice + ce[1] * above / below


def data(spatial=(3, 4, 5), classes=3, batch=2):
    g = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(batch, classes, *spatial, generator=g)
    labels = torch.randint(0, max(classes, 2), (batch, 1, *spatial), generator=g, dtype=torch.uint8)
    return logits, labels


OPTIONS = [
    {},
    {"include_background": False},
    {"batch": True},
    {"include_background": False, "batch": True},  # nnU-Net's
    {"smooth": 1.0},
    {"weight": (0.5, 0.0, 2.0)},
    {"weight": (0.0, 1.0, 3.0), "include_background": False},
    {"ignore": 2},
    {"ignore": 255},
    {"ignore": -1, "batch": True},
    {"ignore": 255, "weight": (1.0, 2.0, 3.0), "include_background": False},
]


def name(options):
    return ",".join(f"{k}={v}" for k, v in options.items()) or "default"


options = pytest.mark.parametrize("options", OPTIONS, ids=name)


def with_ignored(labels, ignore):
    """Some voxels of the label to ignore, in a dtype that holds it."""
    labels = labels.to(torch.int16)
    if ignore is not None:
        labels[0, 0, 0] = ignore
        labels[1, 0, -1, 1:] = ignore
    return labels


@options
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize(
    "extra", [{"reduction": "mean"}, {"reduction": "sum"}, {"reduction": "none"}, {"squared_pred": True}]
)
def test_dice_is_its_definition(options, activation, extra):
    logits, labels = data()
    labels = with_ignored(labels, options.get("ignore"))
    found = DiceLoss(activation=activation, **options, **extra)(logits, labels)
    due = slow(logits, labels, activation=activation, **options, **extra)
    assert found.shape == due.shape
    torch.testing.assert_close(found.double(), due, rtol=1e-5, atol=1e-6)


@options
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("lambdas", [(1.0, 1.0), (0.3, 2.0)])
def test_dice_ce_is_its_definition(options, activation, lambdas):
    logits, labels = data()
    labels = with_ignored(labels, options.get("ignore"))
    loss = DiceCELoss(activation=activation, lambda_dice=lambdas[0], lambda_ce=lambdas[1], **options)
    due = slow(logits, labels, ce=lambdas, activation=activation, **options)
    torch.testing.assert_close(loss(logits, labels).double(), due, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [o for o in OPTIONS if "ignore" not in o], ids=name)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("kind", [DiceLoss, DiceCELoss])
def test_probabilities_agree_with_labels_and_with_the_definition(options, activation, kind):
    logits, labels = data()
    loss = kind(activation=activation, **options)
    hard, _ = one_hot(labels[:, 0], 3)
    torch.testing.assert_close(loss(logits, hard.float()), loss(logits, labels), rtol=1e-5, atol=1e-6)
    soft = torch.rand(logits.shape, generator=torch.Generator().manual_seed(4)).softmax(1)
    due = slow(logits, soft, ce=(1, 1) if kind is DiceCELoss else None, activation=activation, **options)
    torch.testing.assert_close(loss(logits, soft).double(), due, rtol=1e-5, atol=1e-6)


@options
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("kind", [DiceLoss, DiceCELoss])
def test_gradients_are_those_of_finite_differences(options, activation, kind):
    logits, labels = data((2, 3))
    labels = with_ignored(labels, options.get("ignore"))
    losses = [kind(activation=activation, **options)]
    if kind is DiceLoss:
        losses.append(DiceLoss(activation=activation, squared_pred=True, reduction="none", **options))
    for loss in losses:
        assert torch.autograd.gradcheck(lambda z, loss=loss: loss(z, labels), logits.double().requires_grad_())


LOSSES = [DiceLoss(), DiceCELoss(), DiceCELoss(include_background=False, batch=True), DiceCELoss(activation="sigmoid")]
losses = pytest.mark.parametrize("loss", LOSSES, ids=repr)


@losses
@pytest.mark.parametrize("spatial", [(7,), (4, 5), (3, 4, 5)])
def test_label_shapes_and_dtypes_do_not_matter(loss, spatial):
    logits, labels = data(spatial)
    due = slow_of(loss, logits, labels)
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        for target in (labels.to(dtype), labels[:, 0].to(dtype)):
            torch.testing.assert_close(loss(logits, target).double(), due, rtol=1e-5, atol=1e-6)
    strided = torch.stack([logits, logits], -1)[..., 0]
    torch.testing.assert_close(loss(strided, labels).double(), due, rtol=1e-5, atol=1e-6)


def slow_of(loss, logits, labels):
    args = {"include_background": loss.include_background, "batch": loss.batch, "activation": loss.activation}
    return slow(logits, labels, ce=(1, 1) if isinstance(loss, DiceCELoss) else None, **args)


@losses
def test_autocast_and_half_precision_are_computed_in_float32(loss):
    logits, labels = data()
    for dtype in (torch.bfloat16, torch.float16):
        half = (20 * logits).to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            found = loss(half, labels)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, loss(half.float(), labels), rtol=1e-6, atol=1e-6)
        found.backward()
        assert half.grad.dtype == dtype
        assert torch.isfinite(half.grad).all()


@losses
@pytest.mark.parametrize("scale", [1.0, 1e4])  # the second saturates every probability to 0 or 1
@pytest.mark.parametrize("value", [0, 2])
def test_empty_classes_give_finite_losses_and_gradients(loss, scale, value):
    logits, labels = data()
    for smooth in (EPS, 0.0):
        z = (scale * logits).requires_grad_()
        found = type(loss)(**{**vars(loss), "smooth": smooth})(z, torch.full_like(labels, value))
        found.backward()
        assert torch.isfinite(found)
        assert torch.isfinite(z.grad).all()


@losses
def test_ignored_voxels_have_no_say(loss):
    loss = type(loss)(**{**vars(loss), "ignore": 9})
    logits, labels = data((4, 6))
    labels[..., 3:] = 9
    z = logits.clone().requires_grad_()
    found = loss(z, labels)
    found.backward()
    torch.testing.assert_close(found, type(loss)(**{**vars(loss), "ignore": None})(logits[..., :3], labels[..., :3]))
    assert not z.grad[..., 3:].any()
    assert z.grad[..., :3].all()


@losses
def test_a_batch_without_a_single_voxel_that_counts(loss):
    logits, labels = data()
    for smooth in (EPS, 0.0):
        z = logits.clone().requires_grad_()
        found = type(loss)(**{**vars(loss), "ignore": 9, "smooth": smooth})(z, torch.full_like(labels, 9))
        found.backward()
        assert found == 0
        assert not z.grad.any()


@losses
def test_perfect_and_opposite_answers(loss):
    labels = torch.tensor([[[0, 1, 2, 0]]])
    right = 100 * (one_hot(labels[:, 0], 3)[0].float() - 0.5)
    assert loss(right, labels) < 1e-4
    assert loss(right.roll(1, 1), labels) > 0.99


@losses
def test_losses_are_values(loss):
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert eval(repr(loss), {"DiceLoss": DiceLoss, "DiceCELoss": DiceCELoss}) == loss
    assert len({loss, type(loss)(**vars(loss))}) == 1


def test_hand_computed_values():
    # two voxels, two classes; probabilities (3/4, 1/4) and (1/2, 1/2); labels 0 and 1
    logits = torch.tensor([[[math.log(3), 0.0], [0.0, 0.0]]])
    labels = torch.tensor([[[0, 1]]])
    class0, class1 = 1 - 2 * 0.75 / (1.25 + 1), 1 - 2 * 0.5 / (0.75 + 1)  # 1/3 and 3/7
    found = DiceLoss(smooth=0.0, reduction="none")(logits, labels)
    assert found.tolist() == [[pytest.approx(1 / 3), pytest.approx(3 / 7)]]
    assert (class0, class1) == (pytest.approx(1 / 3), pytest.approx(3 / 7))
    assert DiceLoss(smooth=0.0, include_background=False)(logits, labels).item() == pytest.approx(3 / 7)
    squared = DiceLoss(smooth=0.0, squared_pred=True, reduction="none")(logits, labels)
    assert squared.tolist() == [
        [pytest.approx(1 - 1.5 / (9 / 16 + 1 / 4 + 1)), pytest.approx(1 - 1 / (1 / 16 + 1 / 4 + 1))]
    ]
    ce = (math.log(4 / 3) + math.log(2)) / 2
    assert DiceCELoss(smooth=0.0)(logits, labels).item() == pytest.approx((1 / 3 + 3 / 7) / 2 + ce)
    only_first = DiceCELoss(smooth=0.0, ignore=1, lambda_dice=0)(logits, labels)
    assert only_first.item() == pytest.approx(math.log(4 / 3))
    weighted = DiceCELoss(weight=(1.0, 3.0), lambda_dice=0)(logits, labels)
    assert weighted.item() == pytest.approx((math.log(4 / 3) + 3 * math.log(2)) / 4)


def test_cross_entropy_is_torchs():
    logits, labels = data()
    weight = (0.2, 1.0, 3.0)
    found = DiceCELoss(weight=weight, ignore=1, lambda_dice=0)(logits, labels)
    oracle = torch.nn.CrossEntropyLoss(torch.tensor(weight), ignore_index=1)
    torch.testing.assert_close(found, oracle(logits, labels[:, 0].long()))
    found = DiceCELoss(activation="sigmoid", lambda_dice=0)(logits, one_hot(labels[:, 0], 3)[0].float())
    oracle = torch.nn.BCEWithLogitsLoss()
    torch.testing.assert_close(found, oracle(logits, one_hot(labels[:, 0], 3)[0].float()))


def test_a_single_sigmoid_channel_stands_for_label_one():
    logits, labels = data(classes=1)
    loss = DiceCELoss(activation="sigmoid")
    torch.testing.assert_close(loss(logits, labels), loss(logits, labels.float()))
    two = torch.cat([torch.zeros_like(logits), logits], 1)  # the same probabilities as two softmax channels
    dice = DiceLoss(activation="sigmoid")(logits, labels)
    torch.testing.assert_close(dice, DiceLoss(include_background=False)(two, labels))


def test_long_sums_lose_no_voxels():
    # float32 stops counting at 2^24 when summed one after the other; four million are enough to see it drift
    n = 4_000_000
    logits = torch.full((1, 2, n), 0.3)
    logits[:, 1] = 0
    labels = torch.zeros(1, 1, n, dtype=torch.uint8)
    p = 1 / (1 + math.exp(-0.3))
    due = 1 - 2 * p / (p + 1)
    found = DiceLoss(reduction="none")(logits, labels)[0, 0].item()
    assert found == pytest.approx(due, rel=1e-5)


def test_labels_are_never_made_one_hot():
    logits, labels = data((8, 8, 8), classes=20)
    logits.requires_grad_()
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.setdefault(t.untyped_storage().data_ptr(), t), lambda t: t
    ):
        DiceCELoss()(logits, labels)
    of_the_size_of_the_logits = [t for t in kept.values() if t.numel() >= logits.numel()]
    assert len(of_the_size_of_the_logits) == 1  # the log-probabilities


@pytest.mark.parametrize(
    ("loss", "logits", "target", "error", "message"),
    [
        (DiceLoss(), (1, 3, 4), torch.tensor([[[0, 1, 2, 3]]]), BadLabel, "labels from 0 to 3; expected 0 to 2"),
        (DiceCELoss(), (1, 3, 4), torch.tensor([[[0, -1, 2, 2]]]), BadLabel, "labels from -1 to 2"),
        (DiceCELoss(ignore=3), (1, 3, 4), torch.tensor([[[0, 3, 4, 2]]]), BadLabel, "or 3, which is ignored"),
        (DiceCELoss(ignore=-1), (1, 3, 2), torch.tensor([[[255, 0]]], dtype=torch.uint8), BadLabel, "255"),
        (DiceLoss(activation="sigmoid"), (1, 1, 2), torch.tensor([[[0, 2]]]), BadLabel, "expected 0 to 1"),
        (DiceLoss(), (1, 3, 4), torch.zeros(1, 1, 4), BadLabel, r"target.long\(\)"),
        (DiceLoss(), (1, 3, 4), torch.zeros(1, 2, 4).long(), BadGeometry, r"\(1, 1, 4\) or \(1, 4\)"),
        (DiceLoss(), (1, 3, 4), torch.zeros(1, 1, 5).long(), BadGeometry, "lattice"),
        (DiceLoss(), (3, 4), torch.zeros(3).long(), BadGeometry, "no spatial axes"),
        (DiceLoss(), (1, 1, 4), torch.zeros(1, 1, 4).long(), BadArgument, "softmax over one channel"),
        (DiceLoss(ignore=1), (1, 3, 4), torch.zeros(1, 3, 4), BadArgument, "no label to ignore"),
        (DiceLoss(weight=(1.0, 2.0)), (1, 3, 4), torch.zeros(1, 1, 4).long(), BadArgument, "3 numbers"),
        (
            DiceLoss(include_background=False, activation="sigmoid"),
            (1, 1, 4),
            torch.zeros(1, 1, 4).long(),
            BadArgument,
            "leaves no class",
        ),
    ],
)
def test_refuses_what_it_cannot_compare(loss, logits, target, error, message):
    with pytest.raises(error, match=message):
        loss(torch.zeros(logits), target)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (DiceLoss, {"activation": "relu"}, "softmax or sigmoid"),
        (DiceCELoss, {"activation": "relu"}, "softmax or sigmoid"),
        (DiceLoss, {"smooth": -1.0}, "smooth"),
        (DiceCELoss, {"smooth": math.nan}, "smooth"),
        (DiceLoss, {"reduction": "average"}, "mean, sum or none"),
        (DiceLoss, {"weight": (0.0, 0.0)}, "not all 0"),
        (DiceCELoss, {"weight": (1.0, -1.0)}, "0 or more"),
        (DeepSupervisionLoss, {"loss": DiceLoss(), "weights": ()}, "not all 0"),
    ],
)
def test_refuses_arguments_out_of_their_domain(kind, options, message):
    with pytest.raises(BadArgument, match=message):
        kind(**options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@losses
def test_cuda_agrees_and_never_waits(loss):
    logits, labels = data()
    z, y = logits.cuda(), labels.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = loss(z, y)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(found.cpu(), loss(logits, labels), rtol=1e-5, atol=1e-6)
