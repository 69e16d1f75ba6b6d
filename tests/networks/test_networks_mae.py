"""The masked autoencoder: what it hides, and that it learns to fill in."""

import pytest
import torch

from medframe.base.errors import BadArgument, BadGeometry
from medframe.networks import MAEViT
from medframe.networks.nets.mae_vit import unpatch

SMALL = {"hidden_size": 24, "mlp_dim": 32, "num_heads": 2, "num_layers": 1}
SMALL |= {"decoder_hidden_size": 12, "decoder_mlp_dim": 16, "decoder_num_heads": 2, "decoder_num_layers": 1}


def test_patches_and_back():
    network = MAEViT(3, 2, img_size=(8, 12, 4), patch_size=(4, 6, 2), **SMALL)
    x = torch.randn(2, 2, 8, 12, 4)
    patches = network.patches(x)
    assert patches.shape == (2, 8, 96)
    assert torch.equal(patches[1, 5].reshape(4, 6, 2, 2), x[1, :, 4:, :6, 2:].movedim(0, -1))  # patch (1, 0, 1)
    assert torch.equal(unpatch(patches, network.grid, network.patch, 2), x)


def test_hides_the_asked_share_and_does_not_see_it():
    torch.manual_seed(0)
    network = MAEViT(2, 1, img_size=32, patch_size=8, masking_ratio=0.7, **SMALL).eval()
    x = torch.randn(3, 1, 32, 32)
    answer, hidden = network(x)
    assert hidden.sum(1).tolist() == [12, 12, 12]  # 16 * 0.3 = 4.8: four are seen
    assert not torch.equal(hidden[0], hidden[1])
    other = x + 5 * unpatch(hidden[..., None].expand(-1, -1, 64).float(), network.grid, network.patch, 1)
    torch.testing.assert_close(network(other, hidden)[0], answer)  # changed only where hidden
    assert not torch.allclose(network(x + 1, hidden)[0], answer)


def test_learns_to_fill_in():
    torch.manual_seed(0)
    network = MAEViT(2, 1, img_size=16, patch_size=4, **SMALL)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    ramp = torch.linspace(-1, 1, 16)
    losses = []
    for _ in range(60):
        slope = torch.randn(16, 1, 1, 1)
        x = slope * ramp.expand(16, 1, 16, 16)
        answer, hidden = network(x)
        loss = ((answer - network.patches(x)) ** 2).mean(-1)[hidden].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_refuses():
    with pytest.raises(BadArgument, match="nothing to see"):
        MAEViT(2, 1, img_size=16, patch_size=16, **SMALL)
    with pytest.raises(BadArgument, match="do not tile"):
        MAEViT(2, 1, img_size=20, patch_size=16, **SMALL)
    with pytest.raises(BadGeometry, match=r"\(16, 16\)"):
        MAEViT(2, 1, img_size=16, patch_size=4, **SMALL)(torch.zeros(1, 1, 16, 20))
