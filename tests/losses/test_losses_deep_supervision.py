import pytest
import torch
from torch.nn import functional as F

from medframe.base.errors import BadArgument, BadGeometry
from medframe.losses import DeepSupervisionLoss, DiceCELoss
from medframe.losses.deep_supervision import at_resolution
from medframe.networks import DynUNet


@pytest.mark.parametrize(("fine", "coarse"), [((12,), (4,)), ((8, 6), (4, 6)), ((8, 6, 4), (2, 2, 2)), ((5,), (1,))])
def test_the_target_is_read_at_voxel_centres(fine, coarse):
    target = torch.arange(2 * 3 * torch.tensor(fine).prod()).reshape(2, 3, *fine)
    logits = torch.zeros(2, 7, *coarse)
    due = F.interpolate(target.double(), size=coarse, mode="nearest-exact").long()
    found = at_resolution(target, logits)
    assert torch.equal(found, due)
    assert torch.equal(at_resolution(target[:, 0], logits), due[:, 0])
    assert found.untyped_storage().data_ptr() == target.untyped_storage().data_ptr()  # a view


def test_which_voxel_by_hand():
    assert at_resolution(torch.arange(6)[None], torch.zeros(1, 1, 2)).tolist() == [[1, 4]]  # threes: the middle
    assert at_resolution(torch.arange(6)[None], torch.zeros(1, 1, 3)).tolist() == [[1, 3, 5]]  # pairs: the second


def test_the_sum_by_hand():
    def mean(logits, target):
        return (logits * target).mean()

    target = torch.tensor([[[1.0, 2, 3, 4]]])
    logits = [torch.ones(1, 1, 4), torch.ones(1, 1, 2), torch.ones(1, 1, 1)]
    means = 2.5, 3.0, 3.0  # of all, of voxels 1 and 3, of voxel 2
    assert DeepSupervisionLoss(mean)(logits, target).item() == pytest.approx((4 * 2.5 + 2 * 3 + 1 * 3) / 7)
    assert DeepSupervisionLoss(mean, (1.0, 10.0, 0.0))(logits, target).item() == pytest.approx(means[0] + 30)
    assert DeepSupervisionLoss(mean)(logits[:1], target).item() == pytest.approx(2.5)
    assert DeepSupervisionLoss(mean)(logits[0], target).item() == pytest.approx(2.5)  # evaluation: one tensor


def test_every_head_of_a_network_learns():
    torch.manual_seed(0)
    network = DynUNet(3, 1, 3, [3] * 3, [1, (1, 2, 2), 2], channels=(4, 8, 8), deep_supervision=True)
    labels = torch.randint(0, 3, (2, 1, 4, 8, 8))
    loss = DeepSupervisionLoss(DiceCELoss(include_background=False, batch=True))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    x = labels.float() + 0.1 * torch.randn(labels.shape)
    history = []
    for _ in range(8):
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(network(x), labels)
        value.backward()
        assert all(head.weight.grad.any() for head in network.heads)
        optimiser.step()
        history.append(value.item())
    assert value.shape == ()
    assert history[-1] < 0.7 * history[0]


def test_refusals():
    loss = DeepSupervisionLoss(DiceCELoss(), (1.0, 0.5))
    with pytest.raises(BadArgument, match="1 logits, weights"):
        loss([torch.zeros(1, 2, 4)], torch.zeros(1, 1, 4).long())
    with pytest.raises(BadArgument, match="0 logits"):
        DeepSupervisionLoss(DiceCELoss())([], torch.zeros(1, 1, 4).long())
    with pytest.raises(BadGeometry, match=r"found \(4,\); expected a multiple of \(3,\)"):
        loss([torch.zeros(1, 2, 4), torch.zeros(1, 2, 3)], torch.zeros(1, 1, 4).long())
