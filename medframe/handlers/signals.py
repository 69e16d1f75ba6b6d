"""Being told to stop."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from medframe.base.errors import BadArgument
from medframe.engines.distributed import largest_over_ranks
from medframe.engines.events import ignite_engine

if TYPE_CHECKING:
    from ignite.engine import Engine


@dataclass(frozen=True)
class Signals:
    """On SIGTERM (a job's time limit) or SIGINT (Ctrl-C) finish the step, save, and exit with code 143 or 130.

    The step in work is finished, with a validation that is due; then the run ends, for which `Checkpoint` writes a
    file, and SystemExit is raised. A second Ctrl-C does not wait. With several ranks all stop at the same step, also
    if only one is told. Only a run in the main thread can listen to signals.

    Args:
        also: more signals to listen to, such as `signal.SIGUSR1` before a job's limit; the code is 128 plus the number.
    """

    also: tuple[signal.Signals, ...] = ()

    def attach(self, engine: Engine) -> None:
        """Act on an engine.

        Raises:
            BadArgument: at the start of a run in another thread.
        """
        events = ignite_engine().Events
        watch = _Watch((signal.SIGTERM, signal.SIGINT, *self.also))

        def stop_if_told(engine: Engine) -> None:
            # here all handlers of the last step have run
            watch.wait_for_data()
            number = largest_over_ranks(watch.caught)
            if number:
                watch.caught = number
                engine.terminate()
            else:
                watch.report_child()

        def leave() -> None:
            watch.restore()
            if watch.caught:
                raise SystemExit(128 + watch.caught)

        def failed(engine: Engine, error: BaseException) -> None:
            waiting, watch.waiting = watch.waiting, False
            if waiting and "DataLoader worker" in str(error):
                # loader processes get a terminal's or a job's signal too, and may die before it reaches this process
                watch.give_time()
            watch.restore()
            if waiting and watch.caught and isinstance(error, Exception):
                engine.fire_event(events.TERMINATE)  # no step is half done: as if stopped here
                raise SystemExit(128 + watch.caught) from error
            raise error

        engine.add_event_handler(events.STARTED, watch.listen)
        engine.add_event_handler(events.GET_BATCH_STARTED, stop_if_told)
        engine.add_event_handler(events.GET_BATCH_COMPLETED, watch.got_data)
        engine.add_event_handler(events.COMPLETED, leave)
        engine.add_event_handler(events.EXCEPTION_RAISED, failed)


class _Watch:
    """The signals of one run.

    torch raises from a SIGCHLD handler, wherever the main thread is, when a loader process dies. In the middle of a
    step that would leave it half done, so it is put off until the next batch is asked for.
    """

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.numbers = numbers
        self.caught = 0  # the first signal
        self.waiting = False  # a batch is waited for: no step is half done
        self.child_died = False
        self.before: dict[int, Any] = {}

    def listen(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise BadArgument("signals reach the main thread only", mend="Train in it, or leave Signals out.")
        self.caught, self.waiting, self.child_died = 0, False, False
        for number in self.numbers:
            self.before[number] = signal.signal(number, self._note)

    def restore(self) -> None:
        if self.caught and signal.SIGCHLD in self.before:
            # the process is about to end, and loader processes that end with it are no error
            self.before[signal.SIGCHLD] = signal.SIG_DFL
        for number, handler in self.before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self.before.clear()

    def wait_for_data(self) -> None:
        current = signal.getsignal(signal.SIGCHLD)
        if callable(current) and current != self._child:  # torch sets its handler with the first loader
            self.before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, self._child)
        self.waiting = True

    def got_data(self) -> None:
        self.waiting = False

    def report_child(self) -> None:
        if self.child_died:
            self.child_died = False
            self._child(signal.SIGCHLD, None)

    def give_time(self, seconds: float = 1.0) -> None:
        end = time.monotonic() + seconds
        while not self.caught and time.monotonic() < end:
            time.sleep(0.01)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.caught and number == signal.SIGINT:
            self.restore()
            raise KeyboardInterrupt
        self.caught = self.caught or number

    def _child(self, number: int, frame: FrameType | None) -> None:
        if self.waiting and not self.caught:
            self.before[signal.SIGCHLD](number, frame)
        else:
            self.child_died = True
