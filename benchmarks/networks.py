"""Forward and backward of networks and of the Dice and cross-entropy loss, beside MONAI's of the same settings.

Times are medians, taken in turns in one process; peaks of memory are taken in a process of their own each, from a
resting state to the highest resident size of one forward and backward.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from measure import alternate, options, record, versions

warnings.filterwarnings("ignore")
Case = Callable[[], object]
LOSS = (2, 4, 96, 128, 96)


def networks() -> dict[str, dict[str, Callable[[], torch.nn.Module]]]:
    """The same architecture from both, by name; sizes at which one step takes about a second."""
    from monai.networks import nets

    from medframe.networks import SegResNet, SwinUNETR, UNet

    unet = {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2), "num_res_units": 2}
    return {
        "UNet": {
            "medframe": lambda: UNet(3, 1, 4, norm=("instance", {"affine": False}), **unet),
            "MONAI": lambda: nets.UNet(3, 1, 4, **unet),
        },
        "SegResNet": {
            "medframe": lambda: SegResNet(spatial_dims=3, init_filters=16, in_channels=1, out_channels=4),
            "MONAI": lambda: nets.SegResNet(spatial_dims=3, init_filters=16, in_channels=1, out_channels=4),
        },
        "SwinUNETR": {
            "medframe": lambda: SwinUNETR(3, 1, 4, feature_size=24),
            "MONAI": lambda: nets.SwinUNETR(1, 4, feature_size=24, spatial_dims=3),
        },
    }


def step(network: torch.nn.Module) -> Case:
    x = torch.randn(1, 1, 64, 64, 64, generator=torch.Generator().manual_seed(0))

    def run() -> None:
        network.zero_grad(set_to_none=True)
        network(x).square().mean().backward()

    return run


def loss(way: str, shape: tuple[int, ...] = LOSS) -> Case:
    """Dice and cross-entropy of integer labels under softmax, the two candidates' defaults."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator).requires_grad_()
    labels = torch.randint(0, shape[1], (shape[0], 1, *shape[2:]), generator=generator, dtype=torch.uint8)
    if way == "medframe":
        from medframe.losses import DiceCELoss

        found = DiceCELoss()
    else:
        from monai.losses import DiceCELoss as Other

        found = Other(to_onehot_y=True, softmax=True)

    def run() -> None:
        logits.grad = None
        found(logits, labels).backward()

    return run


def case(name: str, way: str) -> Case:
    return loss(way) if name == "DiceCE" else step(networks()[name][way]())


def status(field: str) -> float:
    """A line of the process's status, in MiB."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(field))
    return int(line.split()[1]) / 1024


def peak(name: str, way: str) -> float:
    """MiB that one forward and backward needs at most, beyond inputs, weights and libraries."""
    torch.set_num_threads(1)
    (loss(way, (1, 4, 8, 8, 8)) if name == "DiceCE" else step(networks()["UNet"][way]()))()  # libraries are loaded
    run = case(name, way)
    gc.collect()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest size begins anew
    run()
    return status("VmHWM") - before


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--peak", nargs=2, metavar=("CASE", "WAY"), help="print one peak of memory and stop")
    arguments = parser.parse_args()
    if arguments.peak:
        print(peak(*arguments.peak))
        return
    torch.set_num_threads(arguments.threads)
    result = {}
    for name in (*networks(), "DiceCE"):
        ways = ("medframe", "MONAI")
        seconds = alternate({way: case(name, way) for way in ways}, arguments.repeats)
        row: dict[str, dict[str, float]] = {}
        for way in ways:
            command = [sys.executable, "-W", "ignore", __file__, "--peak", name, way]
            megabytes = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
            row[way] = {"ms": round(1000 * seconds[way], 1), "peak MiB": round(megabytes)}
        row["MONAI"]["time ratio"] = round(seconds["MONAI"] / seconds["medframe"], 2)
        row["MONAI"]["memory ratio"] = round(row["MONAI"]["peak MiB"] / max(row["medframe"]["peak MiB"], 1), 2)
        result[name] = row
        print(name, row, flush=True)
    if arguments.record:
        sizes = {"networks": "1 x 1 x 64 x 64 x 64", "DiceCE": " x ".join(map(str, LOSS))}
        found = {"threads": arguments.threads, "inputs": sizes, "versions": versions("torch", "monai")}
        record("networks", {**found, "cases": result})


if __name__ == "__main__":
    main()
