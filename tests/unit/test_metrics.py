"""The catalogue keeps Prometheus' habits, and its bounded series exist before anything has happened."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from schemas.errors import ErrorKind, ErrorReport
from streams import metrics
from streams.metrics import CATALOGUE, REGISTRY, Metric

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


def test_bounded_series_exist_at_zero_and_parse() -> None:
    text = generate_latest(REGISTRY).decode()
    samples = {s.name for family in text_string_to_metric_families(text) for s in family.samples}
    bounded = [row for row in CATALOGUE.values() if all(label.values for label in row.labels)]
    assert {name for row in bounded for name in row.series} <= samples
    assert REGISTRY.get_sample_value(
        "latentline_store_request_seconds_count", {"operation": "stat", "outcome": "lost_race"}
    ) is not None  # fmt: skip


def test_server_faults_of_an_expected_model_exist_at_zero() -> None:
    labels = {"outcome": "failed", "fault": "server", "model": "never-ran"}
    assert REGISTRY.get_sample_value("latentline_jobs_finished_total", labels) is None
    metrics.expect_models(["never-ran"])
    assert REGISTRY.get_sample_value("latentline_jobs_finished_total", labels) == 0


def test_a_word_from_outside_makes_no_new_series() -> None:
    assert metrics.RETRY_REASON.of("preempted") == "preempted"
    assert metrics.RETRY_REASON.of("' or 1=1") == "other"


def test_one_state_at_a_time() -> None:
    for state in ("standby", "active"):
        metrics.set_state(metrics.COORDINATOR_STATE, state)
    found = {
        state: REGISTRY.get_sample_value("latentline_coordinator_state", {"state": state})
        for state in metrics.COORDINATOR_STATES.values
    }
    assert found == {"standby": 0, "replaying": 0, "active": 1}


@pytest.mark.parametrize(
    ("name", "sample", "labels"),
    [
        ("latentline_checkpoint_resumes_total", "latentline_checkpoint_resumes_total", {}),
        ("latentline_denoise_step_seconds", "latentline_denoise_step_seconds_sum", {"model": "recorded"}),
        ("latentline_jobs_waiting", "latentline_jobs_waiting", {"stage": "mux"}),
    ],
)
def test_record_by_name(name: str, sample: str, labels: dict[str, str]) -> None:
    before = REGISTRY.get_sample_value(sample, labels) or 0
    metrics.record(name, 0.5, labels)
    assert REGISTRY.get_sample_value(sample, labels) == before + 0.5


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
    program = "import sys, streams.metrics; sys.exit(bool({'confluent_kafka', 'torch', 'faust'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
