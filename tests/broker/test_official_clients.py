"""The official client in three versions: all that it asks of a gateway before a video is made."""

from __future__ import annotations

import pytest

from runtime.settings import DEFAULT_KEY
from tests.clients import SDKS
from tests.clients.checks import NEED_NO_WORKER
from tests.clients.ran import ran
from tests.clients.relay import BURST, troubled
from tests.processes import Service

pytestmark = pytest.mark.broker


@pytest.mark.parametrize("version", [*SDKS[::2], pytest.param(SDKS[1], marks=pytest.mark.long)])
def test_the_client_gets_what_it_expects(entrance: Service, version: str) -> None:
    port = entrance.settings.gateway_port
    with troubled(port, 2) as cutting, troubled(port, 2, BURST) as failing:
        ways = {"url": port, "cutting": cutting, "failing": failing}
        urls = {name: f"http://127.0.0.1:{number}/v1" for name, number in ways.items()}
        ran(f"openai-{version}", {**urls, "key": DEFAULT_KEY}, *NEED_NO_WORKER)
