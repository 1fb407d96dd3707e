"""The stream process's hold on its compute child: starts it, writes to it, listens to it, and tells how it ended.

Nothing here blocks the caller: starting (a killed forkserver preloads for ten seconds), writing and reading each have a
thread. What happens arrives as values in one queue.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from queue import SimpleQueue
from threading import Thread
from typing import Any

from runtime.settings import Settings
from schemas.stage import Stage
from streams.worker.compute import child, preload
from streams.worker.compute.messages import FromChild, Stop, ToChild

STOP_GRACE_S = 5.0

ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""A pool of threads that a library starts at its import would make forking unsafe."""


@dataclass(frozen=True)
class ChildMessage:
    """A message of the child of that generation."""

    generation: int
    message: FromChild


@dataclass(frozen=True)
class ChildExited:
    """The child of that generation has ended. `how`: its exit, in words for people."""

    generation: int
    how: str


def context_for(stages: tuple[Stage, ...]) -> ForkServerContext:
    os.environ.update({name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()})
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preload.modules(stages))
    return context


class Compute:
    """One child at a time, each with its generation. Each reports into `events`, at last one `ChildExited`."""

    def __init__(
        self, settings: Settings, stages: tuple[Stage, ...], events: Callable[[ChildMessage | ChildExited], None]
    ) -> None:
        self._settings, self._stages, self._events = settings, stages, events
        self._context = context_for(stages)
        self._outbox: SimpleQueue[ToChild | None] = SimpleQueue()
        self._process: ForkServerProcess | None = None
        self.generation = 0

    def start(self) -> None:
        """Begin the next life. Call it when there is none, or after `ChildExited`."""
        self.generation += 1
        self._outbox = SimpleQueue()
        Thread(target=self._live, args=(self.generation, self._outbox), name="child", daemon=True).start()

    def send(self, message: ToChild) -> None:
        """Returns at once; what is said to a child that is gone is lost with it."""
        self._outbox.put(message)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def kill(self) -> None:
        """End the child now, whatever it does; `ChildExited` follows."""
        if self._process is not None and self._process.pid:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Let it end after the task in hand, and make sure that it has. Blocks: for the worker's end only."""
        self.send(Stop())
        process = self._process
        if process is not None:
            process.join(STOP_GRACE_S)
            self.kill()

    def _live(self, generation: int, outbox: SimpleQueue[ToChild | None]) -> None:
        try:
            ours, theirs = self._context.Pipe()
            process: Any = self._context.Process(
                target=child.main, args=(self._settings, self._stages, theirs), name="compute", daemon=True
            )
            process.start()
        except Exception as error:
            self._events(ChildExited(generation, f"it could not be started: {error!r}"))
            return
        theirs.close()
        self._process = process
        Thread(target=write, args=(ours, outbox), name="to-child", daemon=True).start()
        with suppress(EOFError, OSError):
            while True:
                self._events(ChildMessage(generation, ours.recv()))
        outbox.put(None)
        process.join()
        self._events(ChildExited(generation, exit_in_words(process.exitcode)))


def write(pipe: Connection, outbox: SimpleQueue[ToChild | None]) -> None:
    with suppress(OSError):
        while (message := outbox.get()) is not None:
            pipe.send(message)


def exit_in_words(code: int | None) -> str:
    if code is not None and code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
