"""One secure line for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.local.services import services
from infra.local.stack import Stack
from tests.broker.secure.line import Secure

SERVED = tuple(service for service in services() if service.name in ("coordinator", "gateway", "notifier"))


@pytest.fixture(scope="package")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    stack = Stack(tmp_path_factory.mktemp("secure") / "data")
    stack.up(SERVED, any_ports=True, stays=False, tenants=("acme", "globex"))
    yield Secure(stack)
    stack.down(wipe=True)
