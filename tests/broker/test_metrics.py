"""What the real processes show at `/metrics`: each what it measures, by the catalogue, and nothing of the others."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra.local import ports
from infra.local.plan import PROJECT
from infra.local.stack import Stack
from runtime import metrics
from runtime.metrics import CATALOGUE, CELL_GAUGES
from tests.conftest import new_line
from tests.processes import Service, services
from tests.support import eventually

pytestmark = pytest.mark.broker

OF: dict[str, metrics.Process] = {
    "coordinator": "coordinator", "standby": "coordinator", "mux": "worker", "views": "views", "gateway": "gateway",
    "notifier": "notifier", "waiting-notifier": "notifier",
}  # fmt: skip
CELL = {row.name for row in CATALOGUE.values() if metrics._OBJECTS[row.name] in CELL_GAUGES}
OF_THE_ACTIVE_NOTIFIER = {"latentline_webhook_pending", "latentline_webhook_oldest_pending_seconds"}
LARGEST_PAGE = {"worker": 700, "gateway": 1000, "coordinator": 500}
"""Samples, else 400. There are thousands of workers; of a gateway each route has its durations by answer."""


def samples(service: Service) -> dict[str, int]:
    """How many samples each name has on the page of a process."""
    with urlopen(service.url("/metrics"), timeout=5) as answer:
        text = answer.read().decode()
    found: dict[str, int] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + 1
    return found


def shown(service: Service) -> set[str]:
    """The rows of the catalogue of which a process shows anything."""
    found = samples(service)
    ours = {name for name in found if name.startswith("latentline_")}
    rows = {row.name for row in CATALOGUE.values() if ours.intersection(row.series)}
    assert ours == {name for row in CATALOGUE.values() for name in row.series if name in found}, "all in the catalogue"
    return rows


@pytest.fixture(scope="module")
def running(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    gateway, views = ports.choose([0, 0])
    own = {"gateway_port": gateway, "views_port": views, "bundles": str(PROJECT / "bundles" / "tiny")}
    settings = new_line(stack, tmp_path_factory.mktemp("measured")).model_copy(update=own)
    with services(settings, coordinator="coordinator") as first:
        eventually(lambda: shown(first["coordinator"]) >= CELL)
        with services(
            settings, standby="coordinator", mux="worker mux", views="views", gateway="gateway", notifier="notifier"
        ) as more:
            eventually(lambda: shown(more["notifier"]) >= OF_THE_ACTIVE_NOTIFIER)
            with services(settings, **{"waiting-notifier": "notifier"}) as last:
                yield first | more | last


@pytest.mark.parametrize("name", OF)
def test_a_process_shows_what_it_measures_and_nothing_else(name: str, running: dict[str, Service]) -> None:
    expected = {row.name for row in metrics.rows_of(OF[name])}
    if name == "standby":
        expected -= CELL
    if name == "waiting-notifier":
        expected -= OF_THE_ACTIVE_NOTIFIER
    assert eventually(lambda: shown(running[name]) == expected or None), shown(running[name]) ^ expected
    assert sum(samples(running[name]).values()) <= LARGEST_PAGE.get(OF[name], 400)


def test_gauges_of_the_cell_are_absent_once_its_coordinator_has_stopped(running: dict[str, Service]) -> None:
    """They move to the one that takes over; nobody shows the zeros of both."""
    standby = running["standby"]
    assert not CELL & shown(standby)
    running["coordinator"].kill()
    eventually(lambda: shown(standby) >= CELL)
