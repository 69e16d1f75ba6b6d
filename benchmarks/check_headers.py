"""What a check of a dataset costs a case: headers alone, as before every training, and all voxels.

The set is 50 cases of an image and a label map, written here as .nii.gz; one thread looks at them, so the figure is
that of one core. Warm file cache. `medframe check` looks at as many cases at a time as there are cores.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measure import alternate, options, record, versions

from medframe.image import Image, LabelMap
from medframe.io import write
from medframe.plan.doctor import check

CASES = 50
SHAPE = (64, 64, 48)


def make(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    affine = np.diag([1.0, 1.0, 1.5, 1.0])
    training = []
    for k in range(CASES):
        label = np.zeros(SHAPE, np.uint8)
        label[20 : 30 + k % 5, 22:40, 10:30] = 1
        label[35:45, 20 : 30 + k % 7, 12 : 26 + k // 25] = 2
        image = rng.normal(100, 10, SHAPE) + 50 * label
        names = {"image": f"imagesTr/c{k:02}.nii.gz", "label": f"labelsTr/c{k:02}.nii.gz"}
        write(Image(torch.from_numpy(image.astype(np.int16))[None], affine), folder / names["image"])
        write(LabelMap(torch.from_numpy(label)[None], affine), folder / names["label"])
        training.append(names)
    facts = {"labels": {"0": "background", "1": "a", "2": "b"}, "training": training}
    (folder / "dataset.json").write_text(json.dumps(facts))
    return folder


def main() -> None:
    parser = options(__doc__.splitlines()[0])
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        data = make(Path(folder))
        if check(data, voxels=True, jobs=1).findings:
            raise SystemExit("the clean set has findings")
        forms = {"headers": lambda: check(data, jobs=1), "voxels": lambda: check(data, voxels=True, jobs=1)}
        took = alternate(forms, chosen.repeats)
        results = {f"{name}_ms_a_case": 1000 * seconds / CASES for name, seconds in took.items()}
        # on a machine with other work, the processor's own time says more than the clock
        begun = time.process_time()
        forms["headers"]()
        results["headers_processor_ms_a_case"] = 1000 * (time.process_time() - begun) / CASES
    print(CASES, SHAPE, ", ".join(f"{name} {value:.2f}" for name, value in results.items()))
    if chosen.record:
        facts = {"cases": CASES, "shape": SHAPE, "repeats": chosen.repeats, "threads": chosen.threads}
        record("check_headers", {**facts, "versions": versions("torch", "numpy"), "results": results})


if __name__ == "__main__":
    main()
