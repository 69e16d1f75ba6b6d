# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Registration with VoxelMorph
#
# A network that is shown two images and answers with the displacements that carry one onto the other. It learns from
# pairs alone, without being told the right displacements. Here the pairs are slices of the MNI152 template, each bent
# by a random smooth map, so that we know what can be reached; it takes half a minute on two cores.

# %%
import torch
from torch.nn import functional as F

from medframe.networks import DVF2DDF, VoxelMorph, VoxelMorphUNet, Warp
from medframe.plan.demo import template

t1, tissue = template()
image = t1.data[0].float()
image = F.avg_pool3d(image[None, None] / image.max(), 3)[0, 0]  # 3 mm, from 0 to 1
labels = tissue.data[0, 1::3, 1::3, 1::3]  # their middles
image, labels = (x[:64, 2:74] for x in (image, labels))  # sizes that can be halved three times
low, high = 18, 32  # slices to train on; some above them, with a gap, are held out
print("slices of", tuple(image.shape[:2]), "voxels; labels", labels.unique().tolist())

# %% [markdown]
# ## Pairs
#
# A smooth random velocity field, integrated by `DVF2DDF`, is a map that can be inverted. `Warp` reads an image through
# it: linearly for intensities, by the nearest voxel for labels.

# %%
integrate, warp, carry = DVF2DDF(border="border"), Warp(), Warp(order=0)


def bent(slices, generator, largest=4.0):
    """Images and labels (B, 1, H, W) of these slices, each bent by a map of its own."""
    coarse = torch.randn(len(slices), 2, 5, 6, generator=generator)
    velocity = F.interpolate(coarse, image.shape[:2], mode="bicubic", align_corners=True)
    field = integrate(velocity * largest / velocity.abs().amax((1, 2, 3), keepdim=True))
    seen = torch.stack([image[..., z] for z in slices])[:, None]
    truth = torch.stack([labels[..., z] for z in slices])[:, None].float()
    noise = 0.02 * torch.randn(seen.shape, generator=generator)
    return warp(seen, field) + noise, carry(truth, field).long()


def pairs(count, generator, first, last):
    slices = torch.randint(first, last, (count,), generator=generator).tolist()
    return bent(slices, generator), bent(slices, generator)


# %% [markdown]
# ## Training
#
# The loss asks that the warped image looks like the fixed one, and that the velocities are smooth. The labels are not
# used. At the start the network answers with the identity.

# %%
from medframe.losses import DiffusionLoss, LocalNormalizedCrossCorrelationLoss

torch.manual_seed(0)  # the weights the network starts from
unet = VoxelMorphUNet(2, channels=(16, 16, 32, 32, 32, 32), unet_out_channels=16, final_conv_channels=())
network = VoxelMorph(2, backbone=unet, half_res=True)
optimiser = torch.optim.Adam(network.parameters(), 3e-3)
alike, rough = LocalNormalizedCrossCorrelationLoss(kernel_size=7, smooth=1e-2), DiffusionLoss()
generator = torch.Generator().manual_seed(1)

for step in range(1, 201):
    (moving, _), (fixed, _) = pairs(4, generator, low, high)
    velocity = network.velocity(moving, fixed)
    warped = network.warp(moving, network.displacement(velocity))
    loss = alike(warped, fixed) + 0.1 * rough(velocity)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if step % 50 == 0:
        print(f"step {step}: loss {loss.item():.3f}, unregistered {alike(moving, fixed).item():.3f}")

# %% [markdown]
# ## Slices that were held out
#
# The displacements carry the labels along, by the nearest voxel. The overlap of tissues is measured before and after.

# %%
from medframe.metrics import Dice, Table, score_case, summarise

rows = {"before": [], "after": []}
(moving, moving_labels), (fixed, fixed_labels) = pairs(12, torch.Generator().manual_seed(2), high + 2, high + 6)
with torch.no_grad():
    warped, field = network.eval()(moving, fixed)
carried = carry(moving_labels.float(), field).long()
classes = {1: "grey matter", 2: "white matter"}
for b in range(len(moving)):
    for name, seen in (("before", moving_labels), ("after", carried)):
        rows[name] += score_case(seen[b, 0], fixed_labels[b, 0], (3.0, 3.0), classes, (Dice(),), case=f"pair {b}")
for name, found in rows.items():
    print(name, ", ".join(f"{s.name} {s.mean:.3f}" for s in summarise(Table(found))))

# %%
means = {name: Table(found).case_means("dice") for name, found in rows.items()}
gain = sum(means["after"]) / 12 - sum(means["before"]) / 12
print(f"Dice rose by {gain:.3f}")
assert gain > 0.05

# %% [markdown]
# A map folds where its Jacobian determinant is not positive.

# %%
down, right = field.diff(dim=2)[..., :-1], field.diff(dim=3)[:, :, :-1]
jacobian = (1 + down[:, 0]) * (1 + right[:, 1]) - down[:, 1] * right[:, 0]
print(f"folded: {(jacobian <= 0).float().mean().item():.2%} of all voxels")
assert (jacobian <= 0).float().mean() < 0.01

# %%
from medframe.viz.plots import figure


def side_by_side(pictures):
    drawn = figure(9.6, 3.2)
    for ax, (name, x) in zip(drawn.subplots(1, len(pictures)), pictures.items(), strict=True):
        ax.imshow(x[0, 0].T.flip(0).numpy(), cmap="gray", vmin=0, vmax=1)
        ax.set_title(name, fontsize=9)
        ax.axis("off")
    return drawn


differences = {"difference before": (moving - fixed).abs(), "after": (warped - fixed).abs()}
side_by_side({"moving": moving, "fixed": fixed, "warped": warped} | differences)
