"""Losses beyond Dice and cross-entropy against slow definitions in float64; what all losses must withstand."""

import math
import pickle

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import cdist

from medframe.base.errors import BadArgument, BadGeometry, BadLabel
from medframe.losses import (
    BarlowTwinsLoss,
    BendingEnergyLoss,
    BoundaryLoss,
    ContrastiveLoss,
    CrossEntropyLoss,
    DiceCELoss,
    DiceFocalLoss,
    DiceLoss,
    DiffusionLoss,
    FocalLoss,
    GeneralizedDiceFocalLoss,
    GeneralizedDiceLoss,
    GeneralizedWassersteinDiceLoss,
    GlobalMutualInformationLoss,
    HausdorffDTLoss,
    LocalNormalizedCrossCorrelationLoss,
    MCCLoss,
    MultiScaleLoss,
    MultiScaleSSIMLoss,
    NACLLoss,
    PatchAdversarialLoss,
    PerceptualLoss,
    SoftclDiceLoss,
    SoftDiceclDiceLoss,
    SSIMLoss,
    TverskyLoss,
    UnifiedFocalLoss,
)

FAR = ((0, 1, 1), (2, 0, 0.5), (1, 0.5, 0))
OF_LABELS = [
    CrossEntropyLoss(),
    CrossEntropyLoss("sigmoid"),
    GeneralizedDiceLoss(),
    GeneralizedDiceLoss(activation="sigmoid", batch=True),
    FocalLoss(),
    FocalLoss(0.5, alpha=0.25),
    FocalLoss(activation="sigmoid", alpha=0.25),
    DiceFocalLoss(),
    GeneralizedDiceFocalLoss(),
    TverskyLoss(0.3, 0.7),
    TverskyLoss(0.3, 0.7, gamma=0.75, activation="sigmoid", batch=True),
    UnifiedFocalLoss(),
    UnifiedFocalLoss(asymmetric=False),
    GeneralizedWassersteinDiceLoss(FAR),
    GeneralizedWassersteinDiceLoss(FAR, "GDL"),
    MCCLoss(),
    MCCLoss(activation="sigmoid", batch=True),
    BoundaryLoss(),
    BoundaryLoss(activation="sigmoid"),
    HausdorffDTLoss(),
    HausdorffDTLoss(include_background=True, log=True),
    SoftclDiceLoss(include_background=False),
    SoftDiceclDiceLoss(activation="sigmoid"),
    NACLLoss(),
    NACLLoss(distance_type="l2"),
    DiceLoss(),
    DiceLoss(batch=True, activation="sigmoid"),
    DiceCELoss(),
    DiceCELoss(activation="sigmoid"),
]
of_labels = pytest.mark.parametrize("loss", OF_LABELS, ids=repr)


def data(spatial=(6, 7), classes=3, batch=2, seed=3):
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(batch, classes, *spatial, generator=g)
    labels = torch.randint(0, classes, (batch, 1, *spatial), generator=g)
    return logits, labels


def hot(labels, classes=3):
    return torch.stack([labels[:, 0] == c for c in range(classes)], 1).double()


def chance(logits, activation):
    return logits.double().softmax(1) if activation == "softmax" else logits.double().sigmoid()


# --- slow definitions: probabilities and one-hot truth, case by case and class by class ---


def slow_generalized(p, t, logits, loss):
    found = []
    for pb, tb in zip(p, t, strict=True):
        sizes = [float(c.sum()) for c in tb]
        weights = [1 / n**2 for n in sizes]
        above = sum(2 * w * (a * b).sum() for w, a, b in zip(weights, pb, tb, strict=True))
        below = sum(w * (a.sum() + b.sum()) for w, a, b in zip(weights, pb, tb, strict=True))
        found.append(1 - (above + 1e-5) / (below + 1e-5))
    return sum(found) / len(found)


def slow_focal(p, t, logits, loss):
    if loss.activation == "softmax":
        price = torch.ones(p.shape[1], dtype=torch.float64)
        if loss.alpha is not None:
            price[:], price[0] = loss.alpha, 1 - loss.alpha
        every = -((1 - p) ** loss.gamma) * t * p.log() * price.reshape(1, -1, *[1] * (p.dim() - 2))
        return every.sum() / t.sum()
    right = torch.where(t == 1, p, 1 - p)
    price = 1 if loss.alpha is None else torch.where(t == 1, loss.alpha, 1 - loss.alpha)
    return (-price * (1 - right) ** loss.gamma * right.log()).mean()


def slow_tversky(p, t, logits, loss):
    if loss.batch:
        p, t = (x.transpose(0, 1).flatten(1)[None] for x in (p, t))
    p, t = p.flatten(2), t.flatten(2)
    tp, fp, fn = (p * t).sum(-1), (p * (1 - t)).sum(-1), ((1 - p) * t).sum(-1)
    return ((1 - (tp + 1e-5) / (tp + loss.alpha * fp + loss.beta * fn + 1e-5)) ** loss.gamma).mean()


def slow_unified(p, t, logits, loss):
    focal = 0.0
    for c in range(p.shape[1]):
        entropy = -t[:, c] * p[:, c].log()
        easy = (1 - p[:, c]) ** loss.gamma if c == 0 or not loss.asymmetric else 1
        focal = focal + (1 - loss.delta if c == 0 else loss.delta) * easy * entropy
    p, t = p.flatten(2), t.flatten(2)
    tp, fp, fn = (p * t).sum(-1), (p * (1 - t)).sum(-1), ((1 - p) * t).sum(-1)
    off = 1 - tp / (tp + loss.delta * fn + (1 - loss.delta) * fp)
    first = 1 if loss.asymmetric else 0
    off[:, first:] = off[:, first:] ** (1 - loss.gamma)
    return loss.weight * focal.mean() + (1 - loss.weight) * off.mean()


def slow_wasserstein(p, t, logits, loss):
    found = []
    for pb, tb in zip(p.flatten(2).double(), t.flatten(2), strict=True):
        right = below = 0.0
        for i in range(tb.shape[1]):
            true = int(tb[:, i].argmax())
            away = sum(FAR[true][k] / 2 * pb[k, i] for k in range(3))  # 2 is the largest
            share = 1 / (tb[true].sum() + 1) if loss.weighting == "GDL" else float(true > 0)
            right = right + share * (1 - away)
            below = below + (share * (2 - away) if loss.weighting == "GDL" else 2 * share * (1 - away) + away)
        found.append(1 - (2 * right + 1e-5) / (below + 1e-5))
    return sum(found) / len(found)


def slow_mcc(p, t, logits, loss):
    if loss.batch:
        p, t = (x.transpose(0, 1).flatten(1)[None] for x in (p, t))
    p, t = p.flatten(2), t.flatten(2)
    n = p.shape[-1]
    tp, fp, fn, tn = (x.sum(-1) / n for x in (p * t, p * (1 - t), (1 - p) * t, (1 - p) * (1 - t)))
    root = ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)).sqrt()
    return (1 - (tp * tn - fp * fn + loss.smooth) / (root + loss.smooth)).mean()


def all_pairs(mask):
    """Distance of each voxel to the nearest voxel of the other side, by brute force."""
    points = np.argwhere(np.ones(mask.shape))
    flat = np.asarray(mask).reshape(-1)
    far = cdist(points, points)
    out = np.array([far[i][flat != flat[i]].min(initial=np.inf) for i in range(len(flat))]).reshape(mask.shape)
    return torch.from_numpy(np.where(np.isfinite(out), out, 0))


def slow_boundary(p, t, logits, loss):
    total = []
    for b in range(len(p)):
        for c in range(p.shape[1]):
            d = all_pairs(t[b, c] > 0.5)
            total.append((p[b, c] * torch.where(t[b, c] > 0.5, 1 - d, d)).mean())
    return sum(total) / len(total)


def slow_hausdorff(p, t, logits, loss):
    first = 0 if loss.include_background else 1
    total = []
    for b in range(len(p)):
        for c in range(first, p.shape[1]):
            price = all_pairs(p[b, c] > 0.5) ** loss.alpha + all_pairs(t[b, c] > 0.5) ** loss.alpha
            value = ((p[b, c] - t[b, c]) ** 2 * price).mean()
            total.append(value.log1p() if loss.log else value)
    return sum(total) / len(total)


def slow_skeleton(mask, iterations):
    cross = ndimage.generate_binary_structure(mask.ndim, 1)
    box = np.ones((3,) * mask.ndim, bool)

    def erode(x):
        return ndimage.grey_erosion(x, footprint=cross, mode="constant", cval=np.inf)

    def opened(x):
        return ndimage.grey_dilation(erode(x), footprint=box, mode="constant", cval=-np.inf)

    lines = np.maximum(mask - opened(mask), 0)
    for _ in range(iterations):
        mask = erode(mask)
        new = np.maximum(mask - opened(mask), 0)
        lines = lines + np.maximum(new - lines * new, 0)
    return lines


def slow_centreline(p, t, logits, loss):
    first = 0 if loss.include_background else 1
    total = []
    for b in range(len(p)):
        for c in range(first, p.shape[1]):
            a, r = p[b, c].numpy(), t[b, c].numpy()
            line_a, line_r = slow_skeleton(a, loss.iterations), slow_skeleton(r, loss.iterations)
            precision = ((line_a * r).sum() + 1) / (line_a.sum() + 1)
            sensitivity = ((line_r * a).sum() + 1) / (line_r.sum() + 1)
            value = 1 - 2 * precision * sensitivity / (precision + sensitivity)
            if isinstance(loss, SoftDiceclDiceLoss):
                dice = 1 - (2 * (a * r).sum() + 1) / (a.sum() + r.sum() + 1)
                value = (1 - loss.alpha) * dice + loss.alpha * value
            total.append(value)
    return torch.tensor(sum(total) / len(total), dtype=torch.float64)


def slow_nacl(p, t, logits, loss):
    shares = np.stack([[ndimage.uniform_filter(c.numpy(), loss.kernel_size, mode="constant") for c in b] for b in t])
    off = (logits.double() - torch.from_numpy(shares)).abs() ** (1 if loss.distance_type == "l1" else 2)
    return -(t * p.log()).sum() / t.sum() + loss.alpha * off.mean()


SLOW = [
    (GeneralizedDiceLoss(), slow_generalized),
    (GeneralizedDiceLoss(activation="sigmoid"), slow_generalized),
    (FocalLoss(), slow_focal),
    (FocalLoss(0.5, alpha=0.25), slow_focal),
    (FocalLoss(1.5, alpha=0.25, activation="sigmoid"), slow_focal),
    (TverskyLoss(0.3, 0.7), slow_tversky),
    (TverskyLoss(0.3, 0.7, gamma=0.75, batch=True), slow_tversky),
    (TverskyLoss(0.7, 0.2, gamma=2.0, activation="sigmoid"), slow_tversky),
    (UnifiedFocalLoss(), slow_unified),
    (UnifiedFocalLoss(0.3, 0.8, 0.2), slow_unified),
    (UnifiedFocalLoss(0.3, 0.8, 0.2, asymmetric=False), slow_unified),
    (GeneralizedWassersteinDiceLoss(FAR), slow_wasserstein),
    (GeneralizedWassersteinDiceLoss(FAR, "GDL"), slow_wasserstein),
    (MCCLoss(), slow_mcc),
    (MCCLoss(activation="sigmoid", batch=True), slow_mcc),
    (BoundaryLoss(), slow_boundary),
    (BoundaryLoss(activation="sigmoid"), slow_boundary),
    (HausdorffDTLoss(), slow_hausdorff),
    (HausdorffDTLoss(1.0, include_background=True, log=True), slow_hausdorff),
    (SoftclDiceLoss(), slow_centreline),
    (SoftclDiceLoss(1, include_background=False, activation="sigmoid"), slow_centreline),
    (SoftDiceclDiceLoss(alpha=0.3), slow_centreline),
    (NACLLoss(), slow_nacl),
    (NACLLoss(5, "l2", 0.5), slow_nacl),
]


@pytest.mark.parametrize("spatial", [(6, 7), (4, 5, 3)], ids=["2-D", "3-D"])
@pytest.mark.parametrize(("loss", "slow"), SLOW, ids=[repr(loss) for loss, _ in SLOW])
def test_the_value_is_the_definition(loss, slow, spatial):
    logits, labels = data(spatial)
    due = slow(chance(logits, getattr(loss, "activation", "softmax")), hot(labels), logits, loss)
    torch.testing.assert_close(loss(logits, labels).double(), due.double(), rtol=2e-5, atol=1e-6)
    if not isinstance(loss, NACLLoss | SoftclDiceLoss):
        torch.testing.assert_close(loss(logits, hot(labels).float()).double(), due.double(), rtol=2e-5, atol=1e-6)


@of_labels
def test_gradients_are_those_of_finite_differences(loss):
    logits, labels = data((2, 3))
    labels[0, 0, 0, :2] = 9
    loss = type(loss)(**{**vars(loss), "ignore": 9})
    g = torch.Generator().manual_seed(5)
    weight = {"voxel_weight": torch.rand(2, 1, 2, 3, generator=g), "case_weight": torch.tensor([0.5, 2.0])}
    for more in ({}, weight):
        assert torch.autograd.gradcheck(lambda z, m=more: loss(z, labels, **m), logits.double().requires_grad_())


@of_labels
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_and_half_precision_are_computed_in_float32(loss, dtype):
    logits, labels = data()
    half = (10 * logits).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(half, labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(half.float(), labels), rtol=1e-6, atol=1e-6)
    found.backward()
    assert torch.isfinite(half.grad).all()


@of_labels
@pytest.mark.parametrize("scale", [1.0, 1e4])  # the second saturates every probability to 0 or 1
@pytest.mark.parametrize("value", [0, 2])
def test_empty_classes_give_finite_losses_and_gradients(loss, scale, value):
    logits, labels = data((6, 6))
    z = (scale * logits).requires_grad_()
    found = loss(z, torch.full_like(labels, value))
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(z.grad).all()


@of_labels
def test_nothing_to_learn_from_gives_no_gradient(loss):
    logits, labels = data()
    z = logits.requires_grad_()
    type(loss)(**{**vars(loss), "ignore": 9})(z, torch.full_like(labels, 9)).backward()
    assert not z.grad.any()


@of_labels
def test_a_mask_is_the_label_to_ignore(loss):
    logits, labels = data()
    holes = labels.clone()
    holes[:, :, 1:3, 2:5] = 9
    with_label = type(loss)(**{**vars(loss), "ignore": 9})(logits, holes)
    torch.testing.assert_close(loss(logits, labels, voxel_weight=holes != 9), with_label)
    torch.testing.assert_close(loss(logits, labels, voxel_weight=(holes != 9).float()[:, 0]), with_label)


@of_labels
def test_a_case_of_weight_zero_has_no_say(loss):
    logits, labels = data(batch=3)
    found = loss(logits, labels, case_weight=torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(found, loss(logits[[0, 2]], labels[[0, 2]]), rtol=1e-5, atol=1e-6)


@of_labels
def test_voxels_of_equal_weight_are_as_none(loss):
    logits, labels = data()
    found = loss(logits, labels, voxel_weight=torch.ones(2, 6, 7), case_weight=torch.ones(2))
    torch.testing.assert_close(found, loss(logits, labels))


def test_voxel_weights_by_hand():
    logits = torch.tensor([[[math.log(3), 0.0], [0.0, 0.0]]])  # probabilities (3/4, 1/4) and (1/2, 1/2)
    labels, weight = torch.tensor([[[0, 1]]]), torch.tensor([[[1.0, 3.0]]])
    dice = DiceLoss(smooth=0.0, reduction="none")(logits, labels, voxel_weight=weight)
    assert dice.tolist() == [[pytest.approx(1 - 1.5 / (0.75 + 1.5 + 1)), pytest.approx(1 - 3 / (0.25 + 1.5 + 3))]]
    entropy = CrossEntropyLoss()(logits, labels, voxel_weight=weight)
    assert entropy.item() == pytest.approx((math.log(4 / 3) + 3 * math.log(2)) / 4)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_focal_without_focus_is_cross_entropy(activation):
    logits, labels = data()
    options = {"activation": activation, "weight": (0.2, 1.0, 3.0), "ignore": 1}
    torch.testing.assert_close(
        FocalLoss(gamma=0, **options)(logits, labels), CrossEntropyLoss(**options)(logits, labels)
    )


def test_tversky_of_halves_is_dice():
    logits, labels = data()
    torch.testing.assert_close(TverskyLoss(smooth=0.5)(logits, labels), DiceLoss(smooth=1.0)(logits, labels))


def test_a_single_channel_stands_for_label_one():
    logits, labels = data(classes=1)
    labels = torch.randint(0, 2, labels.shape, generator=torch.Generator().manual_seed(1))
    two = torch.cat([torch.zeros_like(logits), logits], 1)
    torch.testing.assert_close(UnifiedFocalLoss()(logits, labels), UnifiedFocalLoss()(two, labels))
    torch.testing.assert_close(UnifiedFocalLoss()(logits, labels.float()), UnifiedFocalLoss()(two, labels))


@of_labels
def test_losses_are_values(loss):
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert eval(repr(loss), {type(loss).__name__: type(loss)}) == loss


# --- images, fields, features ---


def images(spatial=(14, 15), batch=2, channels=2):
    g = torch.Generator().manual_seed(7)
    return torch.rand(batch, channels, *spatial, generator=g), torch.rand(batch, channels, *spatial, generator=g)


OF_IMAGES = [
    LocalNormalizedCrossCorrelationLoss(),
    LocalNormalizedCrossCorrelationLoss(5, "triangular"),
    LocalNormalizedCrossCorrelationLoss(7, "gaussian"),
    GlobalMutualInformationLoss(),
    GlobalMutualInformationLoss("b-spline"),
    SSIMLoss(win_size=5),
    SSIMLoss(win_size=3, kernel_type="uniform"),
    MultiScaleSSIMLoss(win_size=3, weights=(0.3, 0.7)),
]
of_images = pytest.mark.parametrize("loss", OF_IMAGES, ids=repr)


@of_images
@pytest.mark.parametrize("spatial", [(14, 15), (8, 7, 9)], ids=["2-D", "3-D"])
def test_image_losses_withstand_autocast_and_flat_images(loss, spatial):
    a, b = images(spatial)
    due = loss(a.double(), b.double())
    z = a.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(z, b)
    torch.testing.assert_close(found.double(), due, rtol=1e-3, atol=1e-4)
    for first, second in ((a, b), (a, torch.full_like(b, 0.5)), (torch.zeros_like(a), torch.zeros_like(b))):
        z = first.clone().requires_grad_()
        found = loss(z, second)
        found.backward()
        assert torch.isfinite(found)
        assert torch.isfinite(z.grad).all()
    with pytest.raises(BadGeometry):
        loss(a, b[:1])


@of_images
def test_image_losses_have_right_gradients(loss):
    a, b = (x[:1, :1].double() for x in images((7, 8)))
    assert torch.autograd.gradcheck(lambda x: loss(x, b), a.requires_grad_(), atol=1e-4)


@pytest.mark.parametrize("size", [3, 5])
def test_local_correlation_is_its_definition(size):
    a, b = (x[0, 0].double().numpy() for x in images((9, 8)))

    def mean(x):
        return ndimage.uniform_filter(x, size, mode="constant")

    cross, va, vb = mean(a * b) - mean(a) * mean(b), mean(a * a) - mean(a) ** 2, mean(b * b) - mean(b) ** 2
    due = -(cross**2 / (va * vb)).mean()
    found = LocalNormalizedCrossCorrelationLoss(size)(*(torch.from_numpy(x)[None, None] for x in (a, b)))
    assert found.item() == pytest.approx(due, rel=1e-6)


@pytest.mark.parametrize(("axes", "ndim"), [((9, 10), 2), ((7, 8, 9), 3)])
def test_ssim_is_scikit_images(axes, ndim):
    metrics = pytest.importorskip("skimage.metrics")
    a, b = (x[:1, :1] for x in images(axes))
    arrays = [x[0, 0].double().numpy() for x in (a, b)]
    _, full = metrics.structural_similarity(*arrays, win_size=5, data_range=1.0, use_sample_covariance=False, full=True)
    inside = full[(slice(2, -2),) * ndim].mean()
    assert 1 - SSIMLoss(kernel_type="uniform", win_size=5)(a, b).item() == pytest.approx(inside, abs=1e-5)


def test_mutual_information_is_that_of_the_histogram():
    # values on bin centres and a narrow window: the soft histogram is the plain one
    g = torch.Generator().manual_seed(2)
    a = torch.randint(0, 5, (1, 1, 40, 40), generator=g)
    b = (a + torch.randint(0, 2, a.shape, generator=g)) % 5
    joint = np.histogram2d(a.flatten(), b.flatten(), bins=5)[0] / a.numel()
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    due = np.sum(joint[joint > 0] * np.log(joint[joint > 0] / apart[joint > 0]))
    loss = GlobalMutualInformationLoss(num_bins=5, sigma_ratio=0.05)
    assert -loss(a / 4, b / 4).item() == pytest.approx(due, abs=1e-4)


def test_smoothness_of_known_fields():
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    field = torch.stack([x * y, y**2 - 3 * x])[None]
    # second derivatives: mixed 1 (twice, squared) in the first channel; 2 along y in the second
    assert BendingEnergyLoss()(field).item() == pytest.approx((2 * 1 + 4) / 2)
    slopes = (x**2 + y**2)[1:-1, 1:-1].mean() / 2 + (4 * y**2 + 9)[1:-1, 1:-1].mean() / 2
    assert DiffusionLoss()(field).item() == pytest.approx(slopes.item())
    assert BendingEnergyLoss(reduction="none")(field).shape == (1, 2, 4, 5)
    for loss in (BendingEnergyLoss(), DiffusionLoss(), BendingEnergyLoss(normalize=True)):
        z = torch.randn(1, 3, 4, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        assert torch.autograd.gradcheck(loss, z)
        assert torch.isfinite(loss(z.detach().half()))
    # sampled twice as finely, the same field has the same normalised energy
    fine = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij"))[None]
    waves = [torch.sin(f * 2 * math.pi / f.shape[-1]) * f.shape[-1] for f in (fine, fine[..., :32, :32])]
    energies = [BendingEnergyLoss(normalize=True)(w).item() for w in waves]
    assert energies[0] == pytest.approx(energies[1], rel=0.1)
    with pytest.raises(BadGeometry, match="one channel for each"):
        DiffusionLoss()(torch.zeros(1, 3, 5, 5))


def test_perceptual_distance_by_hand():
    def network(x):
        return [torch.cat([x, 2 * x], 1), x.mean((2, 3), keepdim=True)]

    a, b = images((4, 4), channels=1)
    plain = PerceptualLoss(network, (1.0, 0.5), normalize=False)(a, b)
    means = [x.mean((2, 3)) for x in (a, b)]
    due = 2.5 * ((a - b) ** 2).mean() + 0.5 * ((means[0] - means[1]) ** 2).mean()
    torch.testing.assert_close(plain, due)
    assert PerceptualLoss(network)(a, 3 * a).item() == pytest.approx(0, abs=1e-6)  # of one direction
    deep = PerceptualLoss(network, slices=0.5, normalize=False)
    a, b = images((4, 6, 8), channels=1)
    z = a.clone().requires_grad_()
    deep(z, b).backward()
    assert 0.5 < (z.grad != 0).double().mean() <= 1
    z = torch.zeros_like(a).requires_grad_()
    PerceptualLoss(torch.nn.Conv3d(1, 2, 3, bias=False))(z, b).backward()
    assert torch.isfinite(z.grad).all()
    with pytest.raises(BadArgument, match="2 numbers"):
        PerceptualLoss(network, (1.0,))(a[..., 0], b[..., 0])


@pytest.mark.parametrize("criterion", ["least_squares", "bce", "hinge"])
def test_adversarial_losses_agree_on_their_ends(criterion):
    loss = PatchAdversarialLoss(criterion)
    ends = {"least_squares": (1.0, 0.0), "bce": (40.0, -40.0), "hinge": (1.0, -1.0)}[criterion]
    real, false = (torch.full((2, 1, 3, 3), v) for v in ends)
    assert loss(real, True).item() == pytest.approx(0, abs=1e-6)
    assert loss(false, False).item() == pytest.approx(0, abs=1e-6)
    assert loss(false, True) > loss(real, True)
    assert loss(false, True, False) > loss(real, True, False)
    assert loss([real, false], True).item() == pytest.approx((loss(real, True).item() + loss(false, True).item()) / 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(real.bfloat16(), True).dtype == torch.float32
    with pytest.raises(BadArgument, match="called real"):
        loss(real, False, False)


@pytest.mark.parametrize("loss", [ContrastiveLoss(0.3), BarlowTwinsLoss()], ids=repr)
def test_losses_on_embeddings(loss):
    g = torch.Generator().manual_seed(1)
    a, b = torch.randn(6, 4, generator=g), torch.randn(6, 4, generator=g)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(a, b), loss(a.double(), b.double()).float(), rtol=1e-5, atol=1e-5)
    assert loss(a, a + 0.01 * b) < loss(a, b)
    assert torch.autograd.gradcheck(lambda x: loss(x, b.double()), a.double().requires_grad_())
    flat = torch.ones(6, 4, requires_grad=True)
    loss(flat, b).backward()
    assert torch.isfinite(flat.grad).all()
    with pytest.raises(BadGeometry):
        loss(a, b[:5])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FocalLoss(-1), "0 or more"),
        (lambda: FocalLoss(alpha=2), "0 to 1"),
        (lambda: TverskyLoss(-1, 1), "prices"),
        (lambda: TverskyLoss(gamma=0), "above 0"),
        (lambda: GeneralizedDiceLoss(w_type="cube"), "square, simple or uniform"),
        (lambda: UnifiedFocalLoss(gamma=1.0), "less than 1"),
        (lambda: GeneralizedWassersteinDiceLoss(((0, 1), (1,))), "square table"),
        (lambda: GeneralizedWassersteinDiceLoss(((1, 1), (1, 0))), "0 from each class to itself"),
        (lambda: GeneralizedWassersteinDiceLoss(((0, 0), (0, 0))), "no class is away"),
        (lambda: GeneralizedWassersteinDiceLoss(FAR, "gdl"), "default or GDL"),
        (lambda: GeneralizedWassersteinDiceLoss(FAR)(torch.zeros(1, 2, 4), torch.zeros(1, 4).long()), "3 rows"),
        (lambda: MultiScaleLoss(torch.nn.functional.mse_loss, ()), "not scales"),
        (lambda: MultiScaleLoss(torch.nn.functional.mse_loss, (-1.0,)), "not scales"),
        (lambda: UnifiedFocalLoss(delta=1.5), "delta"),
        (lambda: HausdorffDTLoss(alpha=0), "exponent"),
        (lambda: SoftclDiceLoss(-1), "iterations"),
        (lambda: SoftclDiceLoss(smooth=0), "smooth"),
        (lambda: SoftDiceclDiceLoss(alpha=2), "alpha"),
        (lambda: NACLLoss(4), "odd"),
        (lambda: NACLLoss(distance_type="l3"), "l1 or l2"),
        (lambda: LocalNormalizedCrossCorrelationLoss(2), "odd"),
        (lambda: LocalNormalizedCrossCorrelationLoss(kernel_type="round"), "rectangular"),
        (lambda: GlobalMutualInformationLoss(num_bins=1), "2 or more"),
        (lambda: GlobalMutualInformationLoss("b-spline", num_bins=4), "5 or more"),
        (lambda: SSIMLoss(win_size=4), "odd"),
        (lambda: SSIMLoss(data_range=0), "data_range"),
        (lambda: MultiScaleSSIMLoss(weights=()), "positive numbers"),
        (lambda: PerceptualLoss(lambda x: x, slices=0.0), "share"),
        (lambda: PatchAdversarialLoss("wgan"), "hinge"),
        (lambda: ContrastiveLoss(0), "temperature"),
        (lambda: BarlowTwinsLoss(-1), "negative"),
        (lambda: DiceLoss()(*data(), case_weight=torch.tensor([1.0, -1.0])), "zero or more"),
        (lambda: DiceLoss()(*data(), voxel_weight=torch.full((2, 6, 7), math.nan)), "zero or more"),
    ],
)
def test_refuses_arguments_out_of_their_domain(make, message):
    with pytest.raises(BadArgument, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: DiceLoss()(*data(), voxel_weight=torch.ones(2, 7, 6)), BadGeometry),
        (lambda: DiceLoss()(*data(), case_weight=torch.ones(3)), BadGeometry),
        (lambda: SoftclDiceLoss()(*data((5,))), BadGeometry),
        (lambda: SSIMLoss()(*images((5, 5))), BadGeometry),
        (lambda: MultiScaleSSIMLoss()(*images((30, 30))), BadGeometry),
        (lambda: FocalLoss()(data()[0], torch.full((2, 1, 6, 7), 3)), BadLabel),
    ],
)
def test_refuses_what_it_cannot_compare(make, error):
    with pytest.raises(error):
        make()


@pytest.mark.parametrize("spatial", [(20,), (14, 9), (9, 11, 6)])
def test_multi_scale_smooths_as_scipy_does(spatial):
    g = torch.Generator().manual_seed(2)
    a, b = (torch.rand(2, 3, *spatial, generator=g, dtype=torch.float64) for _ in range(2))
    found = MultiScaleLoss(torch.nn.functional.mse_loss, (0, 1.5, 3))(a, b)
    due = ((a - b) ** 2).mean().item()
    for sigma in (1.5, 3):
        axes = (0, 0, *[sigma] * len(spatial))
        x, y = (ndimage.gaussian_filter(v.numpy(), axes, truncate=3, mode="nearest") for v in (a, b))
        due += ((x - y) ** 2).mean()
    assert found.item() == pytest.approx(due / 3)
    alike = MultiScaleLoss(LocalNormalizedCrossCorrelationLoss(), (0, 1))
    assert torch.autograd.gradcheck(lambda z: alike(z, b[:1, :1]), a[:1, :1].requires_grad_())
    with torch.autocast("cpu", torch.bfloat16):
        assert alike(a.float().detach(), b.float()).dtype == torch.float32
