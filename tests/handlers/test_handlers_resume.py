"""Going on as if nothing had happened."""

import builtins
import errno
import io
import math
import os
import shutil

import pytest
import torch

from medframe.base import BadArgument, BadFile, Incompatible, MedframeWarning, NotFinite, WriteFailed, files
from medframe.base.container import read_container
from medframe.engines import ignite_engine, train, trainer
from medframe.engines.state import split_state
from medframe.handlers import (
    BestModel,
    Checkpoint,
    CSVLog,
    EarlyStop,
    ProgressBar,
    Schedule,
    Validate,
    WarmupStableDecay,
    resume,
)
from medframe.handlers.checkpoint import checkpoints
from medframe.handlers.csv_log import read_log

Events = ignite_engine().Events
STEPS = 12


def flat(step):
    tensors, rest = split_state(step.state_dict())
    return {name: t.clone() for name, t in tensors.items()}, rest


def same(a, b):
    return a[1] == b[1] and set(a[0]) == set(b[0]) and all(torch.equal(a[0][k], b[0][k]) for k in a[0])


class Run:
    """A training with everything attached, in a folder; taken up from it when there is something to take up."""

    def __init__(self, folder, make_step, stream, every=1, saver_first=False, **settings):
        self.step = make_step(ema=0.9, clip=1.0, **settings)
        self.state = resume(folder, self.step)
        self.engine = trainer(self.step, self.state)
        self.losses = []
        self.saver = Checkpoint(folder, self.step, every)
        handlers = [
            Schedule(self.step, WarmupStableDecay(warmup=2, decay=0.5)),
            Validate(3, self.scores),
            BestModel(folder, self.step, "score"),
            EarlyStop("score", patience=100),
            CSVLog(folder / "log.csv", self.step),
            ProgressBar(stream=io.StringIO()),
        ]
        for handler in [self.saver, *handlers] if saver_first else [*handlers, self.saver]:
            handler.attach(self.engine)
        self.engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: self.losses.append(e.state.output["loss"]))
        self.stream = stream

    def scores(self):
        weights = torch.cat([p.flatten() for p in self.step.eval_model.parameters()])
        return {"score": float(weights.double().norm()), "nothing": math.nan}

    def go(self, steps=STEPS, stop=None):
        if stop is not None:
            self.engine.add_event_handler(Events.ITERATION_COMPLETED(once=stop), self.engine.terminate)
        train(self.engine, self.stream(self.step.samples), steps=steps, epoch_length=4)
        return self


def history(folder):
    rows = read_log(folder / "log.csv")
    return [[(k, repr(v)) for k, v in row.items() if k != "seconds"] for row in rows]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_stop_at_any_step_changes_nothing(tmp_path, make_step, stream, accumulate):
    settings = {"accumulate": accumulate, "saver_first": accumulate == 3}
    whole = Run(tmp_path / "whole", make_step, stream, **settings).go()
    assert [row[0] for row in history(tmp_path / "whole")] == [("iteration", str(float(i))) for i in (3, 6, 9, 12)]
    for stop in range(1, STEPS):
        folder = tmp_path / f"stop-{stop}"
        begun = Run(folder, make_step, stream, every=1000, **settings).go(stop=stop)
        assert begun.step.iterations == stop
        after = Run(folder, make_step, stream, every=1000, **settings)
        assert (after.state.iteration, after.state.samples, after.state.epoch) == (stop, 2 * stop, stop // 4)
        after.go()
        assert begun.losses + after.losses == whole.losses
        assert same(flat(after.step), flat(whole.step))
        assert (
            after.engine.state.notes["BestModel best.safetensors"]
            == whole.engine.state.notes["BestModel best.safetensors"]
        )
        assert history(folder) == history(tmp_path / "whole")
        assert (folder / "best.safetensors").read_bytes() == (tmp_path / "whole" / "best.safetensors").read_bytes()


def test_a_file_of_any_iteration_goes_on_the_same(tmp_path, make_step, stream):
    """Files written on the way, validation and all, and not only those of a stop."""
    folder = tmp_path / "whole"
    kept = tmp_path / "kept"
    kept.mkdir()
    run = Run(folder, make_step, stream, saver_first=True, accumulate=2)
    run.engine.add_event_handler(
        Events.GET_BATCH_STARTED, lambda: [shutil.copy(p, kept) for p in folder.glob("checkpoint-*")]
    )
    whole = run.go()
    assert len(checkpoints(folder)) == 2
    for path in checkpoints(kept):
        again = tmp_path / path.stem
        again.mkdir()
        shutil.copy(path, again)
        shutil.copy(folder / "log.csv", again)  # with rows beyond
        after = Run(again, make_step, stream, accumulate=2).go()
        assert whole.losses[after.state.iteration :] == after.losses
        assert same(flat(after.step), flat(whole.step))
        assert history(again) == history(folder)
    assert len(checkpoints(kept)) == STEPS - 1


def test_a_complete_run_is_not_begun_anew(tmp_path, make_step, stream):
    whole = Run(tmp_path, make_step, stream).go()
    again = Run(tmp_path, make_step, stream).go()
    assert again.losses == []
    assert same(flat(again.step), flat(whole.step))
    longer = Run(tmp_path, make_step, stream).go(steps=STEPS + 2)
    assert longer.step.iterations == STEPS + 2


def test_only_the_newest_are_kept_and_the_end_is_saved(tmp_path, make_step, stream):
    step = make_step()
    engine = trainer(step)
    Checkpoint(tmp_path, step, every=3, keep=2, extra=lambda: {"note": step.updates}).attach(engine)
    train(engine, stream(), steps=11, epoch_length=4)
    assert [p.name for p in checkpoints(tmp_path)] == [
        "checkpoint-000000011.safetensors",
        "checkpoint-000000009.safetensors",
    ]
    assert resume(tmp_path, make_step()).extra == {"note": 11}
    assert engine.state.last_checkpoint == checkpoints(tmp_path)[0]


def test_the_file_is_a_safetensors_file(tmp_path, make_step, stream):
    from safetensors.torch import load_file

    run = Run(tmp_path, make_step, stream).go(steps=2)
    stored = load_file(checkpoints(tmp_path)[0])
    weights = run.step.model.state_dict()
    assert all(torch.equal(stored[f"model/{name}"], t) for name, t in weights.items())
    assert any(name.startswith("ema/weights/") for name in stored)
    assert any(name.endswith("/exp_avg") for name in stored)


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    elif how == "tail":
        data = data[:-7]
    elif how == "empty":
        data = bytearray()
    elif how == "payload":
        data[-5] ^= 1
    else:
        data[40] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "tail", "empty", "payload", "header"])
def test_a_damaged_file_is_set_aside_for_the_one_before(tmp_path, make_step, stream, how):
    whole = Run(tmp_path / "whole", make_step, stream).go()
    folder = tmp_path / "run"
    Run(folder, make_step, stream, every=2).go(stop=6)
    newest, before = checkpoints(folder)
    damage(newest, how)
    with pytest.warns(MedframeWarning, match=f"{newest.name} is damaged .* goes on from {before.name}"):
        after = Run(folder, make_step, stream, every=2)
    assert after.state.iteration == 4
    after.go()
    assert same(flat(after.step), flat(whole.step))
    assert (folder / f"damaged-{newest.name}").exists()


def test_nothing_readable_is_an_error_and_nothing_at_all_a_new_run(tmp_path, make_step, stream):
    assert resume(tmp_path / "none", make_step()) is None
    Run(tmp_path, make_step, stream).go(steps=3)
    for path in checkpoints(tmp_path):
        damage(path, "cut")
    with pytest.raises(BadFile, match=r"no checkpoint can be read.*000000003.*000000002"):
        resume(tmp_path, make_step())


def test_another_network_is_named_by_its_parameters(tmp_path, make_step, stream):
    Run(tmp_path, make_step, stream).go(steps=1)
    with pytest.raises(Incompatible, match=r"checkpoint-000000001.*body\.0\.weight \(3, 1, 3, 3, 3\) instead of \(5, "):
        resume(tmp_path, make_step(width=5))


def test_a_newer_format_is_refused(tmp_path, make_step, stream, monkeypatch):
    monkeypatch.setattr("medframe.handlers.checkpoint.FORMAT", 2)
    Run(tmp_path, make_step, stream).go(steps=1)
    with pytest.raises(Incompatible, match="another format"):
        resume(tmp_path, make_step())


def test_a_new_run_does_not_write_among_the_files_of_another(tmp_path, make_step, stream):
    Run(tmp_path, make_step, stream).go(steps=3)
    step = make_step()
    engine = trainer(step)
    Checkpoint(tmp_path, step, 1).attach(engine)
    with pytest.raises(BadArgument, match=r"later checkpoints.*000000003"):
        train(engine, stream(), steps=5)
    assert len(checkpoints(tmp_path)) == 2


def test_leftovers_of_killed_writers_are_swept(tmp_path, make_step, stream):
    left = tmp_path / f"{files._MARK}999999999-{files._host()}-abcd1234-checkpoint-000000001.safetensors"
    left.write_bytes(b"half")
    resume(tmp_path, make_step())
    assert not left.exists()
    left.write_bytes(b"half")
    Run(tmp_path, make_step, stream).go(steps=1)
    assert not left.exists()


def test_nan_keeps_the_last_finite_checkpoint_and_names_it(tmp_path, make_step, stream):
    run = Run(tmp_path, make_step, stream, every=2)

    class Poisoned:
        def __iter__(self):
            for k, batch in enumerate(stream()):
                if k == 5:
                    batch["image"][0, 0, 0, 0, 0] = math.nan
                yield batch

    run.stream = lambda start: Poisoned()
    with pytest.raises(NotFinite, match=r"step 6.*case-10 .*checkpoint-000000004"):
        run.go()
    state = resume(tmp_path, step := make_step(ema=0.9))
    assert state.iteration == 4
    assert all(torch.isfinite(t).all() for t in step.model.state_dict().values())


class Broken:
    """A file system whose call number n fails, once or from then on; counts calls when n is 0."""

    def __init__(self, monkeypatch, n, for_good, code):
        self.n, self.for_good, self.code, self.calls = n, for_good, code, 0
        monkeypatch.setattr(files.os, "fsync", self.guard(os.fsync))
        monkeypatch.setattr(files.os, "replace", self.guard(os.replace))
        monkeypatch.setattr(files, "open", self.opener, raising=False)

    def guard(self, call):
        def guarded(*args, **kwargs):
            self.calls += 1
            if self.n and (self.calls == self.n or (self.for_good and self.calls > self.n)):
                raise OSError(self.code, os.strerror(self.code))
            return call(*args, **kwargs)

        return guarded

    def opener(self, *args, **kwargs):
        stream = self.guard(builtins.open)(*args, **kwargs)
        broken = self

        class Guarded:
            def __getattr__(self, name):
                value = getattr(stream, name)
                return broken.guard(value) if name in ("write", "flush") else value

            def __enter__(self):
                return self

            def __exit__(self, *error):
                stream.close()

        return Guarded()


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_every_failing_write_raises_and_leaves_the_files_before_intact(tmp_path, make_step, stream, for_good, code):
    run = Run(tmp_path, make_step, stream, every=1000)
    run.go(stop=2)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    run.step(None, next(iter(stream(4))))
    with pytest.MonkeyPatch.context() as patch:
        count = Broken(patch, 0, for_good, code)
        run.saver.save(run.engine)
        calls = count.calls
    assert calls > 20  # open, header, every tensor, flush, two syncs, rename
    made = tmp_path / "checkpoint-000000003.safetensors"
    made.unlink()
    silent = 0
    for n in range(1, calls + 1):
        with pytest.MonkeyPatch.context() as patch:
            broken = Broken(patch, n, for_good, code)
            try:
                run.saver.save(run.engine)
            except WriteFailed:
                assert not made.exists()
            else:
                silent += 1  # the sync of the folder after the rename: the file is whole
                read_container(made, "checkpoint")
                made.unlink()
            assert broken.calls >= n
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert silent == 1


def test_a_failed_write_stops_the_training_with_its_cause(tmp_path, make_step, stream):
    run = Run(tmp_path, make_step, stream, every=2)
    with pytest.MonkeyPatch.context() as patch:

        def full(*args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        run.engine.add_event_handler(Events.ITERATION_STARTED(once=4), lambda: patch.setattr(files.os, "replace", full))
        with pytest.raises(WriteFailed, match=r"No space left.*Free some disk space"):
            run.go()
    assert resume(tmp_path, make_step(ema=0.9)).iteration == 2


def test_our_own_loader_goes_on_with_any_number_of_workers(tmp_path, make_step):
    """Mid-epoch of the data: five cases, batches of two."""
    from medframe.data import KeySampler, loader
    from medframe.image import Image, LabelMap

    class Cases:
        def __len__(self):
            return 5

        def __getitem__(self, key):
            generator = torch.Generator().manual_seed(100 * key.epoch + key.index)
            image = Image(torch.randn(1, 8, 8, 8, generator=generator), meta={"case": f"c{key.index}e{key.epoch}"})
            return {"image": image, "label": LabelMap(torch.randint(0, 2, (1, 8, 8, 8), generator=generator))}

    def ce(output, label):
        return torch.nn.functional.cross_entropy(output, label[:, 0].long())

    def go(folder, workers, stop):
        step = make_step()
        step.loss = ce
        state = resume(folder, step)
        engine = trainer(step, state)
        Checkpoint(folder, step, 1000).attach(engine)
        seen = []
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.output))
        keys = KeySampler(5, seed=3, start=state.samples if state else 0)
        if stop is not None:
            engine.add_event_handler(Events.ITERATION_COMPLETED(once=stop), engine.terminate)
        train(engine, loader(Cases(), 2, keys, workers=workers), steps=9, epoch_length=4)
        return seen

    whole = go(tmp_path / "whole", 0, None)
    parts = [go(tmp_path / "parts", workers, stop) for workers, stop in ((2, 3), (0, 4), (1, None))]
    assert [*parts[0], *parts[1], *parts[2]] == whole
    assert len({case for out in whole for case in out["cases"]}) == 18
