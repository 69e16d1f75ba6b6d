"""What `import medframe` adds to `import torch`, and what its transforms and networks add; each in a fresh process."""

from __future__ import annotations

import statistics
import subprocess
import sys

from measure import options, record, versions

CASES = {
    "medframe": "import medframe",
    "medframe.transforms": "import medframe.transforms",
    "medframe.networks": "import medframe.networks",
    "medframe.fit": "import medframe; medframe.fit",
    "monai": "import monai",
}


def seconds(statement: str) -> float | None:
    code = f"import time, torch; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def main() -> None:
    arguments = options(__doc__).parse_args()
    result = {}
    for name, statement in CASES.items():
        if seconds(statement) is None:  # also warms the disk
            print(f"{name}: left out, it does not import")
            continue
        times = [seconds(statement) or 0.0 for _ in range(arguments.repeats)]
        result[name] = round(statistics.median(times), 4)
        print(f"{name:22} adds {result[name]:.3f} s to import torch")
    if arguments.record:
        record("import_time", {"seconds": result, "versions": versions("torch", "numpy", "monai")})


if __name__ == "__main__":
    main()
