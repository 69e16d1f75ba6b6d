"""From any format that is read to any that is written: one image, or a tree of them, in parallel and resumable."""

from __future__ import annotations

import json
import multiprocessing
import os
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from medframe.base.errors import BadArgument, BadDataset, BadFile, MedframeError, MedframeWarning, WriteFailed
from medframe.base.extras import need
from medframe.base.files import append_line, sweep
from medframe.base.fingerprint import fingerprint
from medframe.data.find import images_below
from medframe.data.identity import identity
from medframe.data.records import shortlist
from medframe.image import Image, LabelMap
from medframe.io import FORMATS, format_of, known_suffixes, read, stem, write
from medframe.io.loss import OnLoss, check_on_loss

JOURNAL = ".medframe-convert.jsonl"


@dataclass(frozen=True)
class Conversion:
    """What came of a conversion.

    Args:
        written: the files made, in order of their sources.
        skipped: those an earlier call had finished.
        failures: source (relative to the tree) -> why it could not be converted.
        warnings: source -> what its reader or the writer warned about.
    """

    written: tuple[Path, ...]
    skipped: tuple[Path, ...] = ()
    failures: Mapping[str, MedframeError] = field(default_factory=dict)
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Task:
    """One file to convert; small and picklable, so that it crosses to any kind of process."""

    name: str
    source: Path
    target: Path
    labels: bool
    options: tuple[tuple[str, Any], ...]


Answer = tuple[MedframeError | None, tuple[str, ...]]


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    to: str | None = None,
    dtype: str | None = None,
    on_loss: OnLoss = "raise",
    labels: bool = False,
    jobs: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> Conversion:
    """Convert an image, or all images of a folder and the folders below it.

    Voxels keep their values and their place in the world. Integers stay integers: without `dtype` a file gets the
    dtype its voxels are read with, and label maps the narrowest integer type that holds them.

    A tree keeps its layout. Files appear whole or not at all, and a journal in the target folder tells what is done:
    called again, files whose source has not changed are passed over. One bad file does not stop the rest.

    Args:
        source: an image file, a folder that is one image (a DICOM series), or a folder of images.
        target: a file name for one image, a folder for a tree; another folder than the source.
        to: ending of the new files, such as ".nii.gz", which names their format; needed for a folder.
        dtype: of the new files; default as read.
        on_loss: "raise", "round" or "clip", where values do not fit `dtype`.
        labels: read the files as label maps: whole numbers, or an error.
        jobs: processes.
        overwrite: replace files that no earlier call of this function made.
        progress: show a bar.

    Raises:
        BadFile: the source is not there, or the ending is unknown.
        BadArgument: an option is out of its domain, or the target lies where the sources do.
        BadDataset: two sources would become one file; said before anything is read.
        MedframeError: of the one image, where there is only one.

    Example:
        >>> made = medframe.convert("dicom", "nifti", to=".nii.gz", jobs=4)  # doctest: +SKIP
        >>> for name, error in made.failures.items():  # doctest: +SKIP
        ...     print(name, error)
    """
    source, target = Path(source), Path(target)
    check_on_loss(on_loss)
    if jobs < 1:
        raise BadArgument("jobs is a positive number", found=jobs, due="1 or more")
    options = tuple((k, v) for k, v in (("dtype", dtype), ("on_loss", on_loss)) if v not in (None, "raise"))
    images = images_below(source)
    single = images == [source]
    if single:
        final = _single_target(source, target, to)
        task = _Task(source.name, source, final, labels, (*options, ("overwrite", overwrite)))
        if _same_place(source, final):
            raise BadArgument("an image cannot become itself", where=source, due="another name")
        error, said = _convert_one(task)
        if error is not None:
            raise error
        for text in said:
            warnings.warn(text, MedframeWarning, stacklevel=2)
        return Conversion((final,))
    if to is None:
        raise BadArgument("a folder needs to know the new format", found="no `to`", due=known_suffixes(writes=True))
    _writable(to)
    if _same_place(source, target):
        raise BadArgument("the target is the folder of the sources", where=target, due="another folder")
    inside = target.resolve()
    images = [p for p in images if not p.resolve().is_relative_to(inside)]
    tasks = []
    for path in images:
        name = path.relative_to(source)
        final = target / name.parent / f"{stem(path)}{to}"
        tasks.append(_Task(name.as_posix(), path, final, labels, (*options, ("overwrite", True))))
    _apart(tasks)
    return _Tree(target, overwrite, jobs, progress).run(tasks)


def _single_target(source: Path, target: Path, to: str | None) -> Path:
    if target.is_dir() or to is not None:
        ending = to or ".nii.gz"
        _writable(ending)
        base = stem(source) if source.is_file() else source.resolve().name
        return target / f"{base}{ending}" if target.is_dir() else target.with_name(f"{stem(target)}{ending}")
    _writable(target.name)
    return target


def known_ending(path: Path) -> bool:
    """Whether a path's name ends as one of a known format."""
    return any(path.name.lower().endswith(s) for f in FORMATS for s in f.suffixes)


def _writable(ending: str) -> None:
    chosen = format_of(Path(f"x{ending}"), folder=False)
    if not chosen.writes:
        raise BadArgument(f"{chosen.name} files are not written", found=ending, due=known_suffixes(writes=True))


def _same_place(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve()


def _apart(tasks: Sequence[_Task]) -> None:
    """Raise where two sources would share a target, on a file system that does not tell capitals apart, too."""
    sharing: dict[str, list[str]] = defaultdict(list)
    for task in tasks:
        sharing[os.fspath(task.target).casefold()].append(task.name)
    clashes = [names for names in sharing.values() if len(names) > 1]
    if clashes:
        raise BadDataset(
            f"{len(clashes)} target(s) would be written from more than one source",
            found="; ".join(shortlist(names) for names in clashes[:5]),
            due="one source a target",
            mend="Rename the sources, or convert them into folders of their own.",
        )


def _convert_one(task: _Task) -> Answer:
    """Convert one file; errors are answers, so that nothing is lost on the way between processes."""
    error: MedframeError | None = None
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            image = read(task.source, LabelMap if task.labels else Image)
            options = dict(task.options)
            write(image, task.target, overwrite=bool(options.pop("overwrite")), **options)
        except MedframeError as raised:
            error = raised
        except Exception as raised:  # a fault of a reader must not end the other files' conversion
            found = f"{type(raised).__name__}: {raised}"
            error = BadFile("the file could not be converted", where=task.source, found=found)
    return error, tuple(str(w.message) for w in heard if issubclass(w.category, MedframeWarning))


@dataclass(frozen=True)
class _Tree:
    """The conversion of a tree into a folder with a journal."""

    folder: Path
    overwrite: bool
    jobs: int
    progress: bool

    def run(self, tasks: Sequence[_Task]) -> Conversion:
        done = _read_journal(self.folder / JOURNAL)
        for folder in {t.target.parent for t in tasks if t.target.parent.is_dir()}:
            sweep(folder)
        answers: dict[str, Answer] = {}
        skipped: list[Path] = []
        keys: dict[str, str] = {}
        to_do: list[_Task] = []
        for task in tasks:
            try:
                keys[task.name] = fingerprint(identity(task.source), task.labels, task.options)
            except MedframeError as error:
                answers[task.name] = error, ()
                continue
            entry = done.get(self._name(task))
            ours = entry is not None and (entry.get("state") == "begun" or entry.get("file") == _stamp(task.target))
            if task.target.exists() and not ours and not self.overwrite:
                answers[task.name] = _taken(task), ()
            elif entry is not None and entry.get("key") == keys[task.name] and entry.get("file") == _stamp(task.target):
                skipped.append(task.target)
            else:
                to_do.append(task)
        bar = (
            need("tqdm", "show progress").tqdm(total=len(to_do), desc="convert", unit="file") if self.progress else None
        )
        for task, answer in self._work(to_do):
            answers[task.name] = answer
            if answer[0] is None:
                self._note(task, state="done", key=keys[task.name], file=_stamp(task.target))
            if bar is not None:
                bar.update()
        if bar is not None:
            bar.close()
        order = [t.name for t in tasks if t.name in answers]
        return Conversion(
            tuple(t.target for t in tasks if t.name in answers and answers[t.name][0] is None),
            tuple(skipped),
            {name: bad for name in order if (bad := answers[name][0]) is not None},
            {name: answers[name][1] for name in order if answers[name][1]},
        )

    def _name(self, task: _Task) -> str:
        return task.target.relative_to(self.folder).as_posix()

    def _note(self, task: _Task, **entry: Any) -> None:
        append_line(self.folder / JOURNAL, json.dumps({"target": self._name(task), **entry}))

    def _begin(self, task: _Task) -> None:
        # a kill between a file's appearance and its last line must not make it a stranger
        self.folder.mkdir(parents=True, exist_ok=True)
        self._note(task, state="begun")

    def _work(self, tasks: Sequence[_Task]) -> Iterator[tuple[_Task, Answer]]:
        if self.jobs == 1 or len(tasks) < 2:
            for task in tasks:
                self._begin(task)
                yield task, _convert_one(task)
            return
        waiting, jobs = list(reversed(tasks)), self.jobs
        suspects: list[_Task] = []
        while waiting or suspects:
            running: dict[Future[Answer], _Task] = {}
            try:
                yield from self._pooled(suspects, running, 1)
                yield from self._pooled(waiting, running, jobs)
            except BrokenProcessPool:
                # a process died, most often out of memory, and took its neighbours' work along: one at a time the
                # culprit is found
                if len(running) == 1:
                    (task,) = running.values()
                    yield task, (_died(task), ())
                else:
                    suspects = [*reversed(running.values())]

    def _pooled(
        self, waiting: list[_Task], running: dict[Future[Answer], _Task], jobs: int
    ) -> Iterator[tuple[_Task, Answer]]:
        """Answers as they come. `waiting` (last first) and `running` say what is left where a process dies.

        Raises:
            BrokenProcessPool: a process died.
        """
        if not waiting:
            return
        # spawn: torch's threads and file handles do not survive a fork well
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(waiting)), context, initializer=_quiet) as pool:
            try:
                while waiting or running:
                    while waiting and len(running) < (2 * jobs if jobs > 1 else 1):
                        self._begin(waiting[-1])
                        running[pool.submit(_convert_one, waiting[-1])] = waiting[-1]
                        waiting.pop()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        answer = future.result()
                        yield running.pop(future), answer
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _quiet() -> None:
    torch.set_num_threads(1)


def _stamp(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _read_journal(path: Path) -> dict[str, dict[str, Any]]:
    """The last line about each target; a line that a kill cut short is passed over."""
    found: dict[str, dict[str, Any]] = {}
    try:
        with open(path, "rb") as stream:
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return found
    except OSError as error:
        raise BadFile("the journal cannot be read", where=path, found=error.strerror, due="a readable file") from None
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("target"), str):
            found[entry["target"]] = entry
    return found


def _taken(task: _Task) -> WriteFailed:
    return WriteFailed(
        "the file exists",
        where=task.target,
        found="a file that no earlier conversion made, or that was changed since",
        due="a free name",
        mend="Choose another folder, or ask for overwriting.",
    )


def _died(task: _Task) -> BadFile:
    return BadFile(
        "the process that converted the file died",
        where=task.source,
        found="no answer",
        due="a converted file",
        mend="Most often memory ran out: convert it alone, on a larger machine.",
    )


def told(made: Conversion) -> str:
    """A conversion as text: counts, and a table of what failed and why."""
    lines = [f"{len(made.written)} converted, {len(made.skipped)} were done before, {len(made.failures)} failed"]
    for name, said in made.warnings.items():
        lines += [f"  {name}: {text}" for text in said]
    for name, error in made.failures.items():
        lines.append(f"FAILED {name}")
        lines.append(f"  {type(error).__name__}: {error}")
    return "\n".join(lines)
