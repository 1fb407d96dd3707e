"""One whole line for all end-to-end tests: coordinator and four stage processes, started once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from infra.local.stack import Stack
from runtime.settings import Settings
from schemas.events.completions import Completion
from schemas.job import JobState
from streams.kafka.topics import COMPLETIONS, DLQ, JOBS
from tests.conftest import new_line
from tests.processes import QUICK, WHOLE_LINE, Service, Tail, Upstream, services, states_of
from tests.proxy import Proxy
from tests.support import eventually


@dataclass
class Line:
    """A running line as its upstream, downstream and operator see it."""

    settings: Settings
    services: dict[str, Service]
    upstream: Upstream
    store: Proxy
    """Between the line and its store."""
    completions: Tail
    jobs: Tail
    letters: Tail

    def ends(self, *jobs: str) -> list[Completion]:
        """The completions of these jobs so far."""
        return [event for event in self.completions.events() if isinstance(event, Completion) and event.job in jobs]

    def wait_for(self, *jobs: str, seconds: float = 90.0) -> dict[str, Completion]:
        """The one completion of each job."""
        eventually(lambda: len({end.job for end in self.ends(*jobs)}) == len(jobs), seconds)
        ends = self.ends(*jobs)
        assert len(ends) == len(jobs), "a job ended twice"
        # The topics of one transaction become visible one after another.
        eventually(lambda: all((state := self.state(job)) and state.status.ended for job in jobs))
        return {end.job: end for end in ends}

    def state(self, job: str) -> JobState | None:
        return states_of(self.jobs.events()).get(job)

    def keep_running(self) -> None:
        """Start again what has ended, as a supervisor would."""
        for name, service in self.services.items():
            if service.popen is not None and service.popen.poll() is not None:
                self.revive(name)

    @contextmanager
    def under(self, name: str, **changes: object) -> Iterator[None]:
        """A service with other settings for a while: it leaves in order and comes back, before and after."""
        usual = self.services[name].settings
        try:
            self._restart(name, usual.model_copy(update=changes))
            yield
        finally:
            self._restart(name, usual)

    def _restart(self, name: str, settings: Settings) -> None:
        service = self.services[name]
        service.send_signal(signal.SIGTERM)
        service.wait()
        service.settings = settings
        service.start().wait_ready()

    def revive(self, name: str) -> None:
        """What a supervisor does with a service that died."""
        self.services[name].start()


@pytest.fixture(scope="session")
def whole(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    settings = new_line(stack, tmp_path_factory.mktemp("line")).model_copy(update=QUICK | {"threads": 1})
    with Proxy(settings.store_endpoint) as store:
        settings = settings.model_copy(update={"store_endpoint": store.address})
        readers = [Tail(settings, topic) for topic in (COMPLETIONS, JOBS, DLQ)]
        with services(settings, **WHOLE_LINE) as running:
            yield Line(settings, running, Upstream(settings), store, *readers)
        for reader in readers:
            reader.close()


@pytest.fixture
def line_of_all(whole: Line) -> Line:
    """The line with every service running and ready."""
    for service in whole.services.values():
        service.wait_ready()
    return whole
