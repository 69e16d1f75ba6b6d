"""Parameters and floating-point operations of every network at a stated input, and what each of them can.

What can be exported and traced is what the rows of tests/tables say, which the contract test holds true.
"""

from __future__ import annotations

import inspect
import json
import sys
from importlib import import_module
from pathlib import Path

import torch
from measure import RESULTS
from torch.utils.flop_counter import FlopCounterMode

from medframe import networks

ROWS = Path(__file__).resolve().parents[1] / "tests" / "tables"
sys.path.insert(0, str(ROWS))

WIDE = {"channels": (32, 64, 128, 256), "strides": (2, 2, 2)}
STAGES = {"channels": (32, 64, 128), "strides": (2, 2, 2)}
LATENT = {"channels": (32, 64, 128), "attention_levels": (False, False, True), "num_res_blocks": 2}
DIFFUSION = {**LATENT, "num_head_channels": 32}
PAIR = {"in_channels": 2, "num_channel_initial": 16}  # two images to be registered
SIX = {"kernel_size": [3] * 6, "strides": [1, 2, 2, 2, 2, 2]}

# name, arguments, and the size for two and for three axes; "extra" are further inputs
CASES = {
    "UNet": ({"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2), "num_res_units": 2}, 128),
    "DynUNet": (SIX, 128),
    "ResEncUNet": ({**SIX, "n_blocks_per_stage": (1, 3, 4, 6, 6, 6)}, 128),
    "BasicUNet": ({}, 128),
    "UNetPlusPlus": ({}, 128),
    "AttentionUNet": (WIDE, 128),
    "FlexibleUNet": ({}, 128),
    "SegResNet": ({"init_filters": 32}, 128),
    "SegResNetDS": ({"init_filters": 32}, 128),
    "SegResNetVAE": ({"init_filters": 32, "input_image_size": 128}, 128),
    "VNet": ({}, 128),
    "HighResNet": ({}, 96),
    "MedNeXt": ({"preset": "B"}, 128),
    "UNETR": ({"img_size": 96}, 96),
    "SwinUNETR": ({"feature_size": 48}, 96),
    "ViT": ({"img_size": 96}, 96),
    "MAEViT": ({"img_size": 96}, 96),
    "ViTAutoEnc": ({"img_size": 96}, 96),
    "ResNet": ({"depth": 50}, 96),
    "SEResNet": ({"depth": 50}, 96),
    "SENet154": ({}, 96),
    "DenseNet": ({}, 96),
    "EfficientNet": ({}, 96),
    "AutoEncoder": (STAGES, 64),
    "VarAutoEncoder": ({**STAGES, "latent_size": 64}, 64),
    "Regressor": ({**STAGES, "out_shape": (1,)}, 64),
    "Generator": ({"latent_shape": (64,), "channels": (64, 32, 16, 1), "strides": (2, 2, 2, 1)}, 64),
    "AutoencoderKL": (LATENT, 64),
    "SPADEAutoencoderKL": ({**LATENT, "label_nc": 4}, 64),
    "SPADENet": ({"label_nc": 4, "input_shape": 64, "channels": (64, 128, 256), "z_dim": 32}, 64),
    "VQVAE": ({"channels": (32, 64), "num_res_channels": 64}, 32),
    "DiffusionModelUNet": (DIFFUSION, 32),
    "SPADEDiffusionModelUNet": ({**DIFFUSION, "label_nc": 4}, 32),
    "ControlNet": ({**DIFFUSION, "conditioning_embedding_num_channels": (16,)}, 32),
    "PatchDiscriminator": ({}, 96),
    "MultiScalePatchDiscriminator": ({}, 128),
    "VoxelMorphUNet": ({"in_channels": 2}, 128),
    "VoxelMorph": ({}, 128),
    "LocalNet": (PAIR, 128),
    "GlobalNet": ({**PAIR, "depth": 4, "image_size": 128}, 128),
    "RegUNet": ({**PAIR, "depth": 4}, 128),
}


def made(name: str, spatial_dims: int) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """A network on the meta device, which computes nothing, and its inputs."""
    arguments, edge = CASES[name]
    make = getattr(networks, name)
    size = (edge,) * spatial_dims
    known = inspect.signature(make).parameters
    given: dict[str, object] = {"spatial_dims": spatial_dims}
    if "in_channels" in known:
        given["in_channels"] = 1
    if "out_channels" in known:
        given["out_channels"] = 1 if name in GENERATIVE else 3
    if "in_shape" in known:
        given["in_shape"] = (1, *size)
    if "start_shape" in known:
        given["start_shape"] = (64, *(n // 8 for n in size))
    sizes = ("img_size", "image_size", "input_image_size", "input_shape")
    arguments = {k: size if k in sizes else v for k, v in arguments.items()}
    preset = arguments.get("preset")
    if preset:
        network = make.preset(preset, spatial_dims, 1, 3)
    else:
        network = make(**(given | arguments))
    device = "cpu" if name in ("MAEViT", "VQVAE", "GlobalNet") else "meta"  # these look at numbers, or at the device
    x = torch.zeros(1, arguments.get("in_channels", 1), *size, device=device)
    extra: tuple[torch.Tensor, ...] = ()
    if name == "Generator":
        x = torch.zeros(1, 64, device="meta")
    if "Diffusion" in name or name == "ControlNet":
        extra = (torch.zeros(1, dtype=torch.long, device="meta"),)
    if name == "ControlNet":
        extra = (*extra, torch.zeros(1, 1, *size, device="meta"))
    if name == "VoxelMorph":
        extra = (torch.zeros(1, 1, *size, device="meta"),)
    if "label_nc" in arguments:
        extra = (*extra, torch.zeros(1, 4, *size, device="meta"))
    return network.to(device).eval(), (x, *extra)


GENERATIVE = {n for n in CASES if "Autoencoder" in n or "AutoEncoder" in n or "Diffusion" in n or n == "VQVAE"}
GENERATIVE |= {"ControlNet", "SPADENet", "PatchDiscriminator", "MultiScalePatchDiscriminator"}


def traits() -> dict[str, dict[str, object]]:
    """From the rows of the contract test: the multiple, and a reason where something is not possible."""
    tables = (p.stem for p in sorted(ROWS.glob("network_*.py")) if p.stem != "network_row")
    found: dict[str, dict[str, object]] = {}
    for row in (row for table in tables for row in import_module(table).ROWS):
        name = next((c.__name__ for c in row.make.__mro__ if c.__name__ in CASES), None)
        if name is None:
            raise SystemExit(f"{row.make.__name__} has no row in CASES")
        known = inspect.signature(getattr(networks, name)).parameters
        checkpointed = "checkpointing" in known or name == "SPADEAutoencoderKL"
        found[name] = {"exports": row.exports, "compiles": row.compiles, "checkpointing": checkpointed}
    return found


def main() -> None:
    can = traits()
    assert set(can) == set(CASES)
    rows = []
    for name in CASES:
        row: dict[str, object] = {"network": name, **can[name]}
        for spatial_dims in (2, 3):
            network, inputs = made(name, spatial_dims)
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                network(*inputs)
            row["arguments"] = ", ".join(f"{k}={v}" for k, v in CASES[name][0].items())
            row[f"{spatial_dims}-D"] = {
                "input": list(inputs[0].shape[1:]),
                "parameters": sum(p.numel() for p in network.parameters()),
                "GFLOP": round(counter.get_total_flops() / 1e9, 2),
                "multiple": list(getattr(network, "multiple", ())) or None,
            }
        rows.append(row)
        print(name, row["2-D"], row["3-D"], flush=True)
    RESULTS.mkdir(exist_ok=True)
    kept = {"command": "python benchmarks/network_table.py", "torch": torch.__version__, "networks": rows}
    (RESULTS / "network_table.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
