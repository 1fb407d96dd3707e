"""What tests on the broker share: a line that is quick to notice, what goes in, what comes out, what may be killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.local import ports
from infra.local.plan import PROJECT
from infra.local.stack import Stack
from runtime.settings import Settings
from streams.kafka.topics import COMPLETIONS, JOBS
from tests.broker.workers import PlayedWorker
from tests.conftest import new_line
from tests.processes import QUICK, Service, Tail, Upstream, services, tail


@pytest.fixture
def quick(line: Settings) -> Settings:
    return line.model_copy(update=QUICK | {"bundles": str(PROJECT / "bundles" / "tiny")})


@pytest.fixture
def upstream(quick: Settings) -> Upstream:
    return Upstream(quick)


@pytest.fixture
def worker(quick: Settings) -> Iterator[PlayedWorker]:
    worker = PlayedWorker(quick)
    yield worker
    worker.close()


@pytest.fixture
def completions(quick: Settings) -> Iterator[Tail]:
    with tail(quick, COMPLETIONS) as completions:
        yield completions


@pytest.fixture
def jobs(quick: Settings) -> Iterator[Tail]:
    with tail(quick, JOBS) as jobs:
        yield jobs


@pytest.fixture(scope="session")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose broker nobody else needs."""
    stack = Stack(tmp_path_factory.mktemp("lonely"))
    stack.up(services=(), any_ports=True, stays=False)
    yield stack
    stack.down(wipe=True)


@pytest.fixture(scope="session")
def entrance(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A gateway on a line without workers: what it accepts waits for ever, and costs nothing."""
    [port] = ports.choose([0])
    own = QUICK | {"gateway_port": port, "gateway_rate": "", "gateway_create_rate": ""}
    settings = new_line(stack, tmp_path_factory.mktemp("entrance")).model_copy(update=own)
    with services(settings, coordinator="coordinator", gateway="gateway") as running:
        yield running["gateway"]
