"""Run cases of the corpus of bad inputs, each in a forked child with limits, and print one line of JSON a case.

python badinputs_runner.py FOLDER JOBS < case ids, one a line

A child sees a warm copy of the parent, so a case costs a fork and not an import. What a child does is judged in it, at
world points; what it takes (time, memory) and whether it dies is judged by the parent.
"""

import json
import os
import pickle
import resource
import select
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from medframe.base.archives import extract
from medframe.base.errors import MedframeError, MedframeWarning
from medframe.base.extras import has
from medframe.data import Record
from medframe.image import Image, LabelMap
from medframe.io import read
from medframe.networks import load_weights
from medframe.plan.survey import check_pair

WATCHED = {"pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn"}
SLACK = 4 << 30  # of address space beyond the limit of resident memory, which is judged by the high-water mark


def read_image(folder, case):
    options = {"classes": case["num_classes"]} if "num_classes" in case else {}
    image = read(folder / case["path"], LabelMap if case["kind"] == "label" else Image, **options)
    image.data  # noqa: B018  # the voxels are read and checked here
    return image


def read_pair(folder, case):
    image, label = (folder / case["path"] / f"{name}.nii.gz" for name in ("image", "label"))
    found = read(image), read(label, LabelMap)
    check_pair(*found, Record(case["id"], (image,), label))
    return found[0]


def read_checkpoint(folder, case):
    load_weights(nn.Linear(4, 3), folder / case["path"])


def read_archive(folder, case):
    """Unpack deep inside an empty folder: nothing may appear in it but the target."""
    with tempfile.TemporaryDirectory() as outer:
        target = Path(outer, "a", "b", "c", "out")
        target.parent.mkdir(parents=True)
        try:
            extract(folder / case["path"], target)
        finally:
            around = {p for p in Path(outer).rglob("*") if p != target and target not in p.parents}
            assert around <= {Path(outer, "a"), Path(outer, "a", "b"), target.parent}, f"escaped: {around}"


RUN = {
    "image": read_image,
    "label": read_image,
    "dicom": read_image,
    "array": read_image,
    "pair": read_pair,
    "checkpoint": read_checkpoint,
    "archive": read_archive,
}


def wrong_values(image, values):
    wrong = []
    if "shape" in values and list(image.space.shape) != values["shape"]:
        wrong.append(f"shape {image.space.shape}")
    if "spacing" in values and not np.allclose(image.space.spacing, values["spacing"], rtol=1e-5):
        wrong.append(f"spacing {image.space.spacing}")
    for place, due, channel in values.get("probes", ()):
        index = image.space.to_index(place)
        nearest = np.rint(index).astype(int)
        if (nearest < 0).any() or (nearest >= image.space.shape).any():
            wrong.append(f"{place} lies outside")
            continue
        found = image.data[(channel or 0, *nearest)].item()
        # whole numbers exactly, scaled ones to the precision of the header's single-precision slope
        right = found == due if isinstance(due, int) else np.isclose(found, due, rtol=1e-6, equal_nan=True)
        if np.abs(index - nearest).max() > 1e-3 or not right:
            wrong.append(f"{found} at {place}, due {due}")
    if "nan_count" in values and int(image.data.isnan().sum()) != values["nan_count"]:
        wrong.append("number of NaN")
    if "maxval" in values and int(image.data.max()) != values["maxval"]:
        wrong.append(f"largest value {image.data.max()}")
    if "channels" in values and image.channels != values["channels"]:
        wrong.append(f"{image.channels} channels")
    return wrong


def judge_error(folder, case, error):
    text = str(error)
    wrong = [f"an error without {part}" for part in ("where", "found", "due", "mend") if not getattr(error, part)]
    copy = pickle.loads(pickle.dumps(error))
    if (type(copy), str(copy)) != (type(error), text):
        wrong.append("the error does not pickle")
    if Path(case["path"]).name.partition(".")[0] not in text:
        wrong.append("the error does not name the file")
    if os.fspath(folder) in text:
        wrong.append("the error shows a full path")
    if "CANARY" in text or "ZZZZ" in text:
        wrong.append("the error leaks what it read")
    return wrong


def judge(folder, case):
    """What one case came to: its class, what is wrong with that, and the message."""
    events = []
    sys.addaudithook(lambda event, _: events.append(event) if event in WATCHED else None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            image = RUN[case["kind"]](folder, case)
            verdict, message, wrong = "reads", "", []
        except MedframeError as error:
            verdict, message = "clear_error", f"{type(error).__name__}: {error}"
            wrong = [f"unsafe: {event}" for event in events]
            wrong += judge_error(folder, case, error)
    wrong += [f"unsafe: {event}" for event in events if verdict == "reads"]
    wrong += [f"a foreign warning: {w.message}" for w in caught if not issubclass(w.category, MedframeWarning)]
    allowed = {case["expect"], *case["also_ok"]}
    if verdict == "clear_error":
        # whether a refusal is one for danger's sake is asked of its text by the test
        wrong += [] if allowed & {"clear_error", "refused_unsafe"} else ["refused, though it should read"]
    elif "reads" not in allowed:
        wrong.append("SILENT" if not caught else "wrong, with a warning")
    elif image is not None and case["values"] is not None:
        tried = [wrong_values(image, values) for values in (case["values"], case.get("alt_values")) if values]
        wrong += min(tried, key=len)
        notes = image.meta.get("notes", ())
        if case["need_warning"] and not (caught or notes):
            wrong.append("assumed something without a word")
        if caught and not notes:
            wrong.append("warned, but the image's meta does not say so")
        kept = [repr(image), repr(dict(image.meta)), repr(image.source), pickle.dumps(image.space).decode("latin-1")]
        wrong += ["kept free text of the header"] if any("CANARY" in t or "DOE" in t for t in kept) else []
    return {"verdict": verdict, "message": message, "wrong": wrong}


def high_water():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def child(folder, case, out):
    room = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + SLACK
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    before = high_water()
    try:
        answer = judge(folder, case)
    except BaseException as error:  # a raw error is what we look for
        answer = {"verdict": "raw", "message": f"{type(error).__name__}: {error}", "wrong": ["a raw error"]}
    grown = high_water() - before
    if grown > case["limits"]["rss_mb"]:
        answer["wrong"].append(f"MEMORY: grew by {grown} MB")
    os.write(out, json.dumps({**answer, "grown_mb": grown}).encode())


def start(folder, case):
    inlet, outlet = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(inlet)
        try:
            child(folder, case, outlet)
        finally:
            os._exit(0)
    os.close(outlet)
    return {"case": case, "pid": pid, "pipe": inlet, "began": time.monotonic(), "text": b""}


def finish(folder, job, late):
    if late:
        os.kill(job["pid"], signal.SIGKILL)
    _, status = os.waitpid(job["pid"], 0)
    os.close(job["pipe"])
    case, took = job["case"], time.monotonic() - job["began"]
    if job["text"]:
        answer = json.loads(job["text"])
    else:
        what = f"HANG: killed after {took:.1f} s" if late else f"DIED: status {status}"
        answer = {"verdict": "none", "message": "", "wrong": [what], "grown_mb": 0}
    if case["canary"] and os.path.lexists(case["canary"]):
        answer["wrong"].append("unsafe: the payload ran")
    print(json.dumps({"id": case["id"], "seconds": round(took, 3), **answer}), flush=True)


def main():
    folder, jobs = Path(sys.argv[1]), int(sys.argv[2])
    cases = {c["id"]: c for c in json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["cases"]}
    waiting = [cases[line.strip()] for line in sys.stdin if line.strip()][::-1]
    torch.set_num_threads(1)
    for module in ("PIL.Image", "PIL.PngImagePlugin", "pydicom", "tifffile"):
        if has(module.partition(".")[0]):
            __import__(module)
    running = []
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(start(folder, waiting.pop()))
        ready, _, _ = select.select([job["pipe"] for job in running], [], [], 0.05)
        for job in list(running):
            more = os.read(job["pipe"], 1 << 20) if job["pipe"] in ready else None
            if more:
                job["text"] += more
            late = time.monotonic() - job["began"] > 2 * job["case"]["limits"]["seconds"] + 5
            if more == b"" or late:
                running.remove(job)
                finish(folder, job, late)


if __name__ == "__main__":
    main()
