"""Damage good files of the given formats in many ways, read each in a forked child with limits; a line of JSON each.

python fuzz_runner.py COUNT SEED FORMAT ...

COUNT 0 takes the number of each row for the default suite. Everything a file can do to its reader ends in an image, in
an error of medframe's family, or in a line of "wrong".
"""

import json
import os
import re
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

sys.path.insert(0, os.fspath(Path(__file__).resolve().parents[1] / "tables"))

from fuzz_formats import ROWS, look_at_image

from medframe.base.errors import MedframeError, MedframeWarning

JOBS = 2
SLACK = 4 << 30  # of address space; resident memory is judged by the high-water mark
GROWTH = 200  # MB
SLOWEST = 5.0  # seconds for one file
ODD = [
    b"\0" * 4,
    b"\xff" * 4,
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
    b"\xff\x7f",
    b"\0\x80",
    *(np.array(v, kind).tobytes() for kind in ("<f4", ">f4", "<f8") for v in (np.nan, np.inf, -1.0, 1e38, 1e-42, 0.5)),
    *(np.array(v, kind).tobytes() for kind in ("<i4", ">i4", "<i8") for v in (-1, 0, 1, 2**31 - 1)),
]
WORDS = ["0", "-1", "1", "2", "3", "4", "17", "1e9", "nan", "inf", "-inf", "1e-320", "1e400", "0.5", "65536"]
WORDS += ["99999999999", "9223372036854775807", "4294967296", "none", "", "x", "(1,2,3)", "True", "null", "[]", "{}"]
WORDS += ["\\", "\u00e4", "../../x", "%03d"]


class Hang(BaseException):
    """A file took too long; not an Exception, so that no reader takes it for damage."""


def ring(signum, frame):
    raise Hang


def flip(data, head, rng):
    out = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        out[rng.integers(0, min(head, len(out)))] = rng.integers(0, 256)
    return bytes(out)


def put(data, head, rng):
    odd = ODD[rng.integers(len(ODD))]
    at = int(rng.integers(0, min(head, len(data))))
    return data[:at] + odd + data[at + len(odd) :]


def cut(data, head, rng):
    return data[: rng.integers(0, len(data))]


def drop(data, head, rng):
    at, count = int(rng.integers(0, min(head, len(data)))), int(rng.integers(1, 40))
    return data[:at] + data[at + count :]


def double(data, head, rng):
    at, count = int(rng.integers(0, min(head, len(data)))), int(rng.integers(1, 200))
    return data[: at + count] + data[at:]


def number(data, head, rng):
    """Another number, or none, where a number stood."""
    places = list(re.finditer(rb"-?\d[\d.e+-]*", data[:head]))
    if not places:
        return flip(data, head, rng)
    found = places[rng.integers(len(places))]
    return data[: found.start()] + WORDS[rng.integers(len(WORDS))].encode() + data[found.end() :]


def word(data, head, rng):
    """A word of the header moves to the place of another."""
    places = list(re.finditer(rb"[A-Za-z_-]{2,}", data[:head]))
    if len(places) < 2:
        return flip(data, head, rng)
    one, other = (places[rng.integers(len(places))] for _ in range(2))
    return data[: one.start()] + other.group() + data[one.end() :]


def line(data, head, rng):
    """A line is gone, twice, or elsewhere."""
    lines = data[:head].split(b"\n")
    if len(lines) < 3:
        return drop(data, head, rng)
    at, how = int(rng.integers(len(lines))), int(rng.integers(3))
    taken = lines.pop(at)
    if how > 0:
        lines[int(rng.integers(len(lines))) : 0] = [taken] * how
    return b"\n".join(lines) + data[head:]


BINARY = (flip, flip, flip, put, put, put, cut, drop, double)
TEXT = (flip, flip, cut, drop, double, number, number, number, number, word, word, line, line)


def mutant(good, head, row, rng):
    tools = TEXT if row.text else BINARY
    tool = tools[rng.integers(len(tools))]
    if row.seal is not None and rng.random() < 0.7:
        return row.seal(good, lambda part: tool(part, min(400, len(part)), rng))
    return tool(good, len(good) if rng.random() < 0.1 else head, rng)


def child(name, count, seed, out):
    row = ROWS[name]
    room = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + SLACK
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    signal.signal(signal.SIGALRM, ring)
    look = row.look or look_at_image
    rng = np.random.default_rng([seed, *name.encode()])
    tally = {"format": name, "mutants": count, "read": 0, "refused": 0, "wrong": []}
    slowest, began = 0.0, time.monotonic()
    if row.limit is not None:
        os.environ["MEDFRAME_IMAGE_LIMIT"] = str(row.limit)
    fast = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=fast) as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", MedframeWarning)
        seeds = row.make(Path(folder))
        goods = [one.damaged.read_bytes() for one in seeds]
        for one in seeds:
            look(one.path, 1)  # a good file reads, and loads whatever is loaded once
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        for k in range(count):
            which = k % len(seeds)
            one, good = seeds[which], goods[which]
            bad = mutant(good, one.head, row, rng)
            one.damaged.write_bytes(bad)
            start = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, SLOWEST)
            try:
                look(one.path, k)
                tally["read"] += 1
            except MedframeError as error:
                tally["refused"] += 1
                text = str(error)
                if folder in text or not (error.where and error.found and error.due):
                    tally["wrong"].append([k, "an error that shows a full path, or lacks a part", text[:300]])
            except BaseException as error:
                tally["wrong"].append([k, type(error).__name__, f"{one.path.name}: {error}"[:300]])
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            slowest = max(slowest, time.monotonic() - start)
            one.damaged.write_bytes(good)
            if k % 50 == 0:
                os.write(out, f"at {k}\n".encode())
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10) - before
    if grown > GROWTH:
        tally["wrong"].append([0, "MEMORY", f"grew by {grown} MB"])
    tally |= {"slowest_s": round(slowest, 3), "grown_mb": grown, "seconds": round(time.monotonic() - began, 2)}
    os.write(out, (json.dumps(tally) + "\n").encode())


def start(name, count, seed):
    inlet, outlet = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(inlet)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)  # native readers talk
        try:
            child(name, count, seed, outlet)
        except BaseException as error:
            wrong = {"format": name, "wrong": [[0, "the runner failed", f"{type(error).__name__}: {error}"]]}
            os.write(outlet, (json.dumps(wrong) + "\n").encode())
        finally:
            os._exit(0)
    os.close(outlet)
    return {"name": name, "pid": pid, "pipe": inlet, "text": b"", "heard": time.monotonic()}


def finish(job, late):
    if late:
        os.kill(job["pid"], signal.SIGKILL)
    _, status = os.waitpid(job["pid"], 0)
    os.close(job["pipe"])
    lines = job["text"].decode().splitlines()
    if lines and lines[-1].startswith("{"):
        print(lines[-1], flush=True)
        return
    what = "HANG" if late else f"DIED with status {status}"
    last = next((x for x in reversed(lines) if x.startswith("at ")), "at the start")
    print(json.dumps({"format": job["name"], "wrong": [[0, what, f"in the fifty after {last}"]]}), flush=True)


def main():
    count, seed, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    torch.set_num_threads(1)
    waiting, running = list(reversed(names)), []
    while waiting or running:
        while waiting and len(running) < JOBS:
            name = waiting.pop()
            running.append(start(name, count or ROWS[name].quick, seed))
        ready, _, _ = select.select([job["pipe"] for job in running], [], [], 0.5)
        for job in list(running):
            more = os.read(job["pipe"], 1 << 20) if job["pipe"] in ready else None
            if more:
                job["text"] += more
                job["heard"] = time.monotonic()
            late = time.monotonic() - job["heard"] > 50 * SLOWEST
            if more == b"" or late:
                running.remove(job)
                finish(job, late)


if __name__ == "__main__":
    main()
