"""The picture of docs/networks.md: real slices, an autoencoder's answers to them, and a diffusion network's own.

The slices are axial ones of the MNI152 template, which nilearn brings; every second one is held out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from measure import RESULTS

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "tables"))
from slices import autoencoder, diffusion, draw, means  # noqa: E402  # the training that the tests do, too


def template() -> torch.Tensor:
    """Axial slices (N, 1, 28, 28) through the brain, from -1 to 1."""
    from nilearn.datasets import load_mni152_template

    voxels = torch.from_numpy(np.asarray(load_mni152_template(resolution=1).dataobj, dtype=np.float32))
    slices = voxels[:, :, 30:150].permute(2, 1, 0).flip(1)[:, None]
    return torch.nn.functional.interpolate(slices, (28, 28), mode="area") / voxels.max() * 2 - 1


def main(steps: int) -> None:
    torch.set_num_threads(1)
    x, held_out = template()[::2], template()[5::10]
    x = torch.cat([x, x.flip(3)])
    small = torch.nn.functional.interpolate(x, (16, 16), mode="area")
    coder, coder_losses = autoencoder(x, steps)
    painter, painter_losses = diffusion(small, 3 * steps)
    with torch.no_grad():
        again = coder(held_out)[0]
    rows = {"held out": held_out, "through the\nautoencoder": again, "drawn by the\ndiffusion network": None}
    rows["drawn by the\ndiffusion network"] = draw(painter, 12, (16, 16)).clamp(-1, 1)
    figure = plt.figure(figsize=(9, 4.6), dpi=90)
    grid = figure.add_gridspec(5, 12, height_ratios=(1, 1, 1, 0.35, 1.6), hspace=0.08, wspace=0.04)
    for r, (name, images) in enumerate(rows.items()):
        for c in range(12):
            axis = figure.add_subplot(grid[r, c])
            axis.imshow(images[c, 0], cmap="gray", vmin=-1, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
            if c == 0:
                axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    curves = {"autoencoder": (slice(1, 6), coder_losses), "diffusion": (slice(7, 12), painter_losses)}
    for title, (place, losses) in curves.items():
        axis = figure.add_subplot(grid[4, place])
        n = max(1, len(losses) // 60)
        bins = torch.tensor(losses[: n * (len(losses) // n)]).view(-1, n).mean(1)
        axis.plot(n * torch.arange(len(bins)), bins)
        axis.set_yscale("log")
        axis.set_title(f"{title}: loss over steps", fontsize=8)
        axis.tick_params(labelsize=7)
    figure.savefig(ROOT / "docs" / "images" / "generated_slices.png", bbox_inches="tight")
    kept = {"command": f"python benchmarks/slices.py {steps}", "torch": torch.__version__}
    for name, losses in (("autoencoder", coder_losses), ("diffusion", painter_losses)):
        first, last = means(losses)
        kept[name] = {"steps": len(losses), "first": round(first, 4), "last": round(last, 4)}
    (RESULTS / "slices.json").write_text(json.dumps(kept, indent=1) + "\n")
    print(kept)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
