"""The real coordinator in a thread of the test, and the one end of a job."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from runtime.settings import Settings
from schemas.bundle import read_bundles
from schemas.events.completions import Completion
from schemas.job import JobState
from streams.coordinator.service.main import Coordinator
from streams.coordinator.service.policy import policy_of
from streams.kafka import clients
from streams.kafka.topics import JOBS
from tests.broker.workers import PlayedWorker
from tests.contract import golden
from tests.processes import Tail
from tests.support import eventually


class Watched(Coordinator):
    """Keeps what has ended it."""

    def __init__(self, settings: Settings, **policy: Any) -> None:
        decided = policy_of(settings, read_bundles(settings.bundles), "in-process")
        super().__init__(settings, replace(decided, **policy))
        self.failures: list[BaseException] = []

    def run(self) -> None:
        try:
            super().run()
        except BaseException as error:
            self.failures.append(error)


@contextmanager
def coordinating(settings: Settings, **policy: Any) -> Iterator[Watched]:
    """The real service in a thread of this process, so that a fault can be put between it and its client.

    `policy`: what it decides by, other than the settings say.
    """
    coordinator = Watched(settings, **policy)
    thread = threading.Thread(target=coordinator.run, name="coordinator")
    thread.start()
    try:
        eventually(lambda: coordinator.cells or coordinator.failures)
        yield coordinator
    finally:
        coordinator.stop()
        thread.join(60)
        coordinator.close()


def write_state(settings: Settings, state: JobState) -> None:
    """Into `jobs`, as a coordinator before this one left it."""
    value, headers = golden.record(state)
    producer = clients.producer(clients.PRODUCER, settings)
    producer.produce(JOBS.named(settings.topic_prefix), value, state.job, 0, headers=[*headers])
    assert producer.flush(30) == 0


def one_end(completions: Tail, job: str) -> Completion | None:
    ends = [event for event in completions.events() if isinstance(event, Completion) and event.job == job]
    assert len(ends) <= 1
    return ends[0] if ends else None


def finish(worker: PlayedWorker, completions: Tail, job: str) -> Completion:
    def ended() -> Completion | None:
        worker.work()
        return one_end(completions, job)

    return eventually(ended, 60)
