"""The catalogue keeps Prometheus' habits, and its bounded series exist before anything has happened."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from runtime import metrics
from runtime.metrics import CATALOGUE, Metric
from schemas.errors import ErrorKind, ErrorReport
from schemas.stage import Stage

PROCESSES: tuple[metrics.Process, ...] = get_args(metrics.Process)
MEASURING: dict[str, metrics.Process] = {
    "streams/coordinator": "coordinator",
    "streams/worker": "worker",
    "streams/usage": "views",
    "gateway": "gateway",
    "webhooks": "notifier",
    "operations/janitor": "janitor",
}
"""Folders by the process that runs their code."""
SUFFIX = {"counter": "_total", "histogram": "_seconds"}
ROWS = pytest.mark.parametrize("row", CATALOGUE.values(), ids=lambda row: row.name)


@ROWS
def test_names_follow_prometheus_habits(row: Metric) -> None:
    assert row.name.startswith("latentline_")
    assert row.name.endswith(SUFFIX.get(row.kind, ""))
    assert row.meaning.endswith(".")
    assert row.unit not in ("seconds", "bytes") or row.unit in row.name


@ROWS
def test_buckets_rise(row: Metric) -> None:
    assert bool(row.buckets) == (row.kind == "histogram")
    assert list(row.buckets) == sorted(set(row.buckets))


@ROWS
def test_no_label_grows_with_jobs(row: Metric) -> None:
    for label in row.labels:
        assert label.values or label.name in ("model", "version")


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_shows_what_it_measures_and_nothing_else(process: metrics.Process) -> None:
    """All of its counters and histograms, at zero, and no gauge that it has not measured yet."""
    shown = {row.name for row in rows_shown(metrics.registry_of(process, ["tiny"]))}
    of_all = {row.name for row in CATALOGUE.values() if row.measured_by in (process, metrics.EVERY)}
    assert shown <= of_all
    assert {name for name in of_all - shown if CATALOGUE[name].kind != "gauge"} == set()


def test_every_process_of_the_table_is_one_that_measures() -> None:
    assert {row.measured_by for row in CATALOGUE.values()} == {*PROCESSES, metrics.EVERY}


@pytest.mark.parametrize(("folder", "process"), MEASURING.items())
def test_code_measures_only_what_the_table_says_its_process_measures(folder: str, process: metrics.Process) -> None:
    """Else the figure would be counted and never shown."""
    names = {name for path in Path(folder).rglob("*.py") for name in metrics_named_in(path)}
    rows = [row for row in CATALOGUE.values() for name in names if getattr(metrics, name) is metrics._OBJECTS[row.name]]
    assert rows
    assert [row.name for row in rows if row.measured_by not in (process, metrics.EVERY)] == []


def metrics_named_in(path: Path) -> set[str]:
    """Names of metrics that a module takes from the catalogue."""
    nodes = ast.walk(ast.parse(path.read_text()))
    named = {
        n.attr
        for n in nodes
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "metrics"
    }
    return {name for name in named if isinstance(getattr(metrics, name, None), Counter | Gauge | Histogram)}


def rows_shown(registry: CollectorRegistry) -> list[Metric]:
    text = generate_latest(registry).decode()
    samples = {s.name for family in text_string_to_metric_families(text) for s in family.samples}
    return [row for row in CATALOGUE.values() if samples.intersection(row.series)]


def test_a_gauge_is_absent_until_it_is_measured_and_when_it_no_longer_is() -> None:
    registry = metrics.registry_of("notifier")
    name = "latentline_webhook_pending"
    metrics.WEBHOOK_PENDING.clear()
    assert registry.get_sample_value(name) is None
    metrics.WEBHOOK_PENDING.set(0)
    assert registry.get_sample_value(name) == 0
    metrics.clear([metrics.WEBHOOK_PENDING])
    assert registry.get_sample_value(name) is None


def test_a_coordinator_without_a_cell_shows_nothing_of_one() -> None:
    """Else it would say "0 waiting" of jobs that it does not count."""
    metrics.clear(metrics.CELL_GAUGES)
    shown = rows_shown(metrics.registry_of("coordinator", ["tiny"]))
    assert shown
    assert [row.name for row in shown if metrics._OBJECTS[row.name] in metrics.CELL_GAUGES] == []


def test_a_worker_shows_the_stages_that_it_serves() -> None:
    registry = metrics.registry_of("worker", ["tiny"], [Stage.MUX])
    name = "latentline_compute_seconds_total"
    assert registry.get_sample_value(name, {"stage": "mux"}) is not None


def test_server_faults_of_an_expected_model_exist_at_zero() -> None:
    labels = {"outcome": "failed", "fault": "server", "model": "never-ran"}
    registry = metrics.registry_of("coordinator", ["another"])
    assert registry.get_sample_value("latentline_jobs_finished_total", labels) is None
    registry = metrics.registry_of("coordinator", ["never-ran"])
    assert registry.get_sample_value("latentline_jobs_finished_total", labels) == 0


def test_a_word_from_outside_makes_no_new_series() -> None:
    assert metrics.RETRY_REASON.of("preempted") == "preempted"
    assert metrics.RETRY_REASON.of("' or 1=1") == "other"


def test_one_state_at_a_time() -> None:
    for state in ("standby", "active"):
        metrics.set_state(metrics.COORDINATOR_STATE, state)
    registry = metrics.registry_of("coordinator")
    found = {
        state: registry.get_sample_value("latentline_coordinator_state", {"state": state})
        for state in metrics.COORDINATOR_STATES.values
    }
    assert found == {"standby": 0, "replaying": 0, "active": 1}


@pytest.mark.parametrize(
    ("name", "sample", "labels"),
    [
        ("latentline_checkpoint_resumes_total", "latentline_checkpoint_resumes_total", {}),
        ("latentline_denoise_step_seconds", "latentline_denoise_step_seconds_sum", {"model": "recorded"}),
        ("latentline_worker_state", "latentline_worker_state", {"state": "recorded"}),
    ],
)
def test_record_by_name(name: str, sample: str, labels: dict[str, str]) -> None:
    registry = metrics.registry_of("worker")
    before = registry.get_sample_value(sample, labels) or 0
    metrics.record(name, 0.5, labels)
    assert registry.get_sample_value(sample, labels) == before + 0.5


def test_record_refuses_what_the_catalogue_does_not_have() -> None:
    with pytest.raises(KeyError):
        metrics.record("latentline_typo_total", 1, {})
    with pytest.raises(ValueError):
        metrics.record("latentline_jobs_waiting", 1, {"job": "video_1"})


@pytest.mark.parametrize("kind", ErrorKind)
def test_only_an_invalid_job_is_the_clients_fault(kind: ErrorKind) -> None:
    fault = metrics.fault_of(ErrorReport(kind=kind, code="some_code", message="it failed"))
    assert fault == ("client" if kind == ErrorKind.INVALID_JOB else "server")
    assert metrics.fault_of(None) == "none"


def test_the_catalogue_loads_neither_kafka_nor_torch() -> None:
    program = "import sys, runtime.metrics; sys.exit(bool({'confluent_kafka', 'torch', 'faust'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
