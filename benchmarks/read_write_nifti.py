"""Reading and writing .nii.gz files against nibabel's defaults.

Read: `medframe.io.read(path).data`, a contiguous tensor of verified bytes, against `nibabel.load(path).get_fdata()`
(nibabel's documented way, float64) and against `np.asarray(nibabel.load(path).dataobj)` (stored type, file order).
Write: `medframe.io.write`, which syncs to the disk, against `nibabel.save`, which does not. Warm file cache.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel
import numpy as np
import torch
from measure import alternate, options, record, versions
from scipy.ndimage import gaussian_filter

from medframe.image import Image
from medframe.io import read, write

SHAPE = (192, 224, 160)


def volume(dtype: str) -> np.ndarray:
    """Smooth structure and a little noise, which deflates about as well as an MR image."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=SHAPE).astype(np.float32), 4)
    smooth *= 1000 / smooth.std()
    noisy = np.clip(smooth, 0, None) + rng.normal(0, 4, SHAPE).astype(np.float32)
    return np.rint(noisy).astype(np.int16) if dtype == "int16" else noisy


def compare(dtype: str, folder: Path, repeats: int) -> dict[str, float]:
    affine = np.diag([1.0, 1.0, 1.2, 1.0])
    array = volume(dtype)
    image = Image(torch.from_numpy(array)[None], affine)
    path, ours, theirs = (folder / f"{dtype}_{name}.nii.gz" for name in ("in", "ours", "theirs"))
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    write(image, ours)
    for file in (path, ours):
        if not np.array_equal(read(file).data[0].numpy(), array) or not np.array_equal(
            nibabel.load(file).dataobj, array
        ):
            raise SystemExit("the readers disagree")
    took = alternate(
        {
            "read": lambda: read(path).data,
            "read_nibabel_get_fdata": lambda: nibabel.load(path).get_fdata(),
            "read_nibabel_stored": lambda: np.asarray(nibabel.load(path).dataobj),
            "write": lambda: write(image, ours, overwrite=True),
            "write_nibabel": lambda: nibabel.save(nibabel.Nifti1Image(array, affine), theirs),
        },
        repeats,
    )
    return {
        **{f"{name}_s": value for name, value in took.items()},
        "read_ratio": took["read_nibabel_get_fdata"] / took["read"],
        "read_ratio_stored": took["read_nibabel_stored"] / took["read"],
        "write_ratio": took["write_nibabel"] / took["write"],
        "size_ratio": theirs.stat().st_size / ours.stat().st_size,
    }


def main() -> None:
    parser = options(__doc__.splitlines()[0])
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        results = {dtype: compare(dtype, Path(folder), chosen.repeats) for dtype in ("int16", "float32")}
    for dtype, row in results.items():
        print(dtype, SHAPE, ", ".join(f"{name} {value:.3f}" for name, value in row.items()))
    if chosen.record:
        facts = {"shape": SHAPE, "repeats": chosen.repeats, "threads": chosen.threads}
        record(
            "read_write_nifti", {**facts, "versions": versions("torch", "numpy", "nibabel", "isal"), "results": results}
        )


if __name__ == "__main__":
    main()
