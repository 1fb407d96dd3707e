"""The compute child: owns the device, loads the stages, runs one task after another, and ends with its parent.

Nothing here knows Kafka. The main thread computes; a second one reads the pipe, so that a cancel is seen between any
two steps, and ends the process when the pipe ends: the parent is gone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread

import structlog

from runtime import logs, metrics
from runtime.settings import Settings
from schemas.bundle import MANIFEST_NAME, BundleManifest
from schemas.errors import Cancelled, ErrorKind, InputLost, OtherRevision, Preempted, report_of
from schemas.events.tasks import Task
from schemas.stage import Stage
from stages.contract import StageRunner
from stages.execution import loading
from stages.execution.checkpoint_interval import IntervalRule
from stages.execution.execute import Undelivered, execute
from stages.storage.artifacts import ArtifactStore
from stages.storage.checkpoints import StoredCheckpoints
from stages.storage.circuit_breaker import Breaker
from stages.storage.object_store import ANSWER_S, Meter
from stages.storage.spool import Spool, SpoolFull
from streams.worker.compute import preload
from streams.worker.compute.context import ChildContext
from streams.worker.compute.messages import (
    AwaitingUpload,
    ChildFailed,
    FailedWith,
    FromChild,
    Interrupt,
    Interrupted,
    Interruption,
    Logged,
    LostInput,
    Measured,
    Ready,
    Run,
    Stop,
    Succeeded,
    TaskEnd,
    ToChild,
)

LOG_LINES_KEPT, LOG_LINE_CHARACTERS = 20, 1000
"""Of the child's log: what goes with a failure, whose record must fit into its topic."""
PREVIEW_ANSWER_S = 2.0

logger = structlog.get_logger(__name__)


@dataclass
class Child:
    """The state of a running child. `send` may be called from the computing and the checkpointing thread."""

    settings: Settings
    stages: tuple[Stage, ...]
    pipe: Connection
    tasks: SimpleQueue[Run | Stop] = field(default_factory=SimpleQueue)
    interruptions: dict[int, Interruption] = field(default_factory=dict)
    runners: dict[tuple[Stage, str], StageRunner] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES_KEPT))
    _sending: Lock = field(default_factory=Lock)

    def send(self, message: FromChild) -> None:
        with self._sending:
            self.pipe.send(message)

    def keep_line(self, line: str) -> None:
        line = line[:LOG_LINE_CHARACTERS]
        self.lines.append(line)
        with suppress(OSError):
            self.send(Logged(line))

    def asked(self, operation: str, outcome: str, seconds: float) -> None:
        self.send(Measured(metrics.STORE_REQUEST, seconds, {"operation": operation, "outcome": outcome}))

    def moved(self, kind: str, operation: str, size: int) -> None:
        self.send(Measured(metrics.ARTIFACT_TRAFFIC, size, {"kind": kind, "operation": operation}))

    def listen(self) -> None:
        """Read the pipe until it ends, which means that the parent has: then there is nobody to work for."""
        while True:
            try:
                message: ToChild = self.pipe.recv()
            except (EOFError, OSError):
                os._exit(1)
            if isinstance(message, Interrupt):
                self.interruptions[message.lease] = message.how
            else:
                self.tasks.put(message)

    def load(self) -> None:
        for folder in self.settings.bundles.split(os.pathsep):
            manifest = BundleManifest.read((Path(folder) / MANIFEST_NAME).read_bytes())
            self.revisions[manifest.model] = manifest.revision
            for stage in self.stages:
                start = time.monotonic()
                self.runners[stage, manifest.model] = loading.load_stage(
                    stage, Path(folder), self.settings.device, self.settings.threads,
                    intervals_of(self.settings),
                )  # fmt: skip
                seconds = time.monotonic() - start
                self.send(Measured(metrics.MODEL_LOAD, seconds, {"model": manifest.model}))
        loaded = tuple(f"{stage}/{model}" for stage, model in self.runners)
        self.send(Ready(loaded, self.bit_class(), dict(self.revisions)))

    def bit_class(self) -> str:
        computing = [stage for stage in self.stages if stage is not Stage.MUX]
        return loading.bit_class(computing[0], self.settings.device, self.settings.threads) if computing else ""

    def run(self) -> None:
        store, previews = store_of(self.settings, self), previews_of(self.settings, self)
        while isinstance(order := self.tasks.get(), Run):
            with logs.of_job(
                order.task.job, order.task.stage, order.task.attempt, order.traceparent, lease=order.task.lease
            ):
                ended = self.perform(order, store, previews)
            self.interruptions.pop(order.task.lease, None)
            self.send(ended)
            if isinstance(ended, FailedWith) and ended.error.kind is ErrorKind.RESOURCE:
                # Its memory is in an unknown state: the next child starts clean.
                return

    def perform(self, order: Run, store: ArtifactStore, previews: ArtifactStore) -> TaskEnd:
        """One task to its end. Whatever it raises becomes a message; only a fault of the process escapes."""
        task, start = order.task, time.monotonic()
        bit_class = loading.bit_class(task.stage, self.settings.device, self.settings.threads)
        context = ChildContext(
            task.lease, StoredCheckpoints.of(store, task, bit_class), self.interruptions, self.send,
            partial(previews.put_preview, task.tenant, task.job),
        )  # fmt: skip
        # A worker asks for tasks only while it reaches the store, which this process may not know yet.
        store.breaker.look_again()
        try:
            context.raise_if_interrupted()
            result = execute(task, self.runner_of(task), store, context, bit_class)
        except Cancelled:
            return Interrupted(task.lease, time.monotonic() - start, "cancel", context.durable_step)
        except Preempted:
            return Interrupted(task.lease, time.monotonic() - start, "preempt", context.durable_step)
        except InputLost as error:
            return LostInput(task.lease, time.monotonic() - start, error.stage, error.key, error.etag, str(error))
        except Undelivered as error:
            return self.park(order, error, time.monotonic() - start)
        except Exception as error:
            logger.exception("the task failed")
            return FailedWith(task.lease, time.monotonic() - start, report_of(error), tuple(self.lines))
        logger.info("the task is done", seconds=round(result.seconds, 3), reused=result.reused)
        return Succeeded(task.lease, time.monotonic() - start, result)

    def runner_of(self, task: Task) -> StageRunner:
        """Raises `OtherRevision`. Mux reads no weights, so that it takes any."""
        model, asked = task.recipe.model, task.recipe.revision
        if task.stage is not Stage.MUX and self.revisions[model] != asked:
            raise OtherRevision(model, asked, self.revisions[model])
        return self.runners[task.stage, model]

    def park(self, order: Run, error: Undelivered, seconds: float) -> TaskEnd:
        """Keep the output on local disk, so that the device is free and nothing is computed again."""
        logger.warning("the result waits on local disk for the store", why=str(error))
        try:
            spool_of(self.settings).save(error.made, order.traceparent)
        except SpoolFull as full:
            logger.error("the result cannot be kept", why=str(full))
            return FailedWith(order.task.lease, seconds, full.report(), tuple(self.lines))
        return AwaitingUpload(order.task.lease, seconds)


def main(settings: Settings, stages: tuple[Stage, ...], pipe: Connection) -> None:
    """Entry point of the child, right after the fork."""
    # Ctrl-C reaches the whole terminal; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure(settings, "-".join(stages))
    child = Child(settings, stages, pipe)
    logging.getLogger().addHandler(KeptLines(child.keep_line))
    problem = preload.problem(stages)
    if problem:
        child.send(ChildFailed(problem))
        return
    Thread(target=child.listen, name="pipe", daemon=True).start()
    with device_lock(settings):
        try:
            child.load()
        except Exception as error:
            logger.exception("the stages could not be loaded")
            child.send(ChildFailed(f"{type(error).__name__}: {error}"))
            return
        with suppress(BrokenPipeError):
            child.run()


@contextmanager
def device_lock(settings: Settings) -> Iterator[None]:
    """Waits until no earlier child of this worker holds the device: one may outlive its parent by a moment."""
    folder = settings.data_dir / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{settings.worker_name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class KeptLines(logging.Handler):
    """Gives each line to `keep`, for the last ones travel with a failure as evidence."""

    def __init__(self, keep: Callable[[str], None]) -> None:
        super().__init__()
        self._keep = keep

    def emit(self, record: logging.LogRecord) -> None:
        text = record.msg.get("event") if isinstance(record.msg, dict) else record.getMessage()
        self._keep(f"{record.levelname.lower()} {record.name}: {str(text)[:300]}")


def intervals_of(settings: Settings) -> IntervalRule:
    if settings.checkpoint_interval_s:
        return IntervalRule.fixed(settings.checkpoint_interval_s)
    return IntervalRule(
        settings.mean_time_between_failures_s, settings.checkpoint_interval_min_s, settings.checkpoint_interval_max_s
    )


def store_of(settings: Settings, meter: Meter | None = None, answer_s: float = ANSWER_S) -> ArtifactStore:
    return ArtifactStore.connect(
        settings.store_endpoint, settings.store_access_key, settings.store_secret_key.get_secret_value(),
        settings.store_bucket, secure=settings.store_secure, region=settings.store_region, meter=meter,
        answer_s=answer_s,
    )  # fmt: skip


def previews_of(settings: Settings, meter: Meter) -> ArtifactStore:
    """One that gives up soon, and whose breaker is its own: a preview that is late is worth nothing."""
    return replace(store_of(settings, meter, PREVIEW_ANSWER_S), attempts=1, breaker=Breaker(longest_rest=30.0))


def spool_of(settings: Settings) -> Spool:
    return Spool(settings.data_dir / "spool" / settings.worker_name, settings.spool_max_bytes)
