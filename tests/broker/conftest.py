"""What several of these tests share: a broker that may be killed, and a gateway that nobody works for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.local import ports
from infra.local.stack import Stack
from tests.conftest import new_line
from tests.processes import QUICK, Service, services


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
