"""A broker that restarts is found again by each of its clients, however many they are.

One in a few hundred does not: told of no broker for a moment, librdkafka may ask nobody any more (its issue 5301). It
must be noticed, and a reader of these tests then begins anew, as a service does.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.stack import Stack
from streams.settings import Settings
from streams.topics import COMPLETIONS
from tests.conftest import forget, new_line
from tests.processes import Tail, Upstream
from tests.support import eventually

pytestmark = pytest.mark.broker

READERS = 50


@pytest.fixture
def line_of_its_own(lonely: Stack, tmp_path: Path) -> Iterator[Settings]:
    settings = new_line(lonely, tmp_path)
    yield settings
    forget(settings)


@pytest.mark.parametrize("restarts", [2, pytest.param(6, marks=pytest.mark.long)])
def test_every_client_finds_a_broker_again_that_has_left_in_order(
    lonely: Stack, line_of_its_own: Settings, restarts: int
) -> None:
    upstream = Upstream(line_of_its_own)
    readers = [Tail(line_of_its_own, COMPLETIONS) for _ in range(READERS)]
    for records in range(1, restarts + 2):
        if records > 1:
            restart_in_order(lonely)
        upstream.send_raw(b"{}", [], COMPLETIONS)
        all_hear(readers, records)
    for reader in readers:
        reader.close()


def all_hear(readers: list[Tail], records: int) -> None:
    eventually(lambda: all(len(reader.raw) == records or len(reader.poll()) == records for reader in readers))


def restart_in_order(stack: Stack) -> None:
    """The keeper of the stack starts another."""
    broker = stack.status()["pids"]["kafka"]
    os.kill(broker, signal.SIGTERM)
    eventually(lambda: stack.status()["pids"].get("kafka", broker) != broker, 60)
