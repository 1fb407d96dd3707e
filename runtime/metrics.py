"""The metric catalogue: every name, unit, meaning and label that a process of the line may expose.

Each constant is a `prometheus_client` object, made from a row of `CATALOGUE`; the dashboard and docs/metrics.md are
generated from the same rows. A process exposes the rows that it measures, as `registry_of` gives them. Counters and
histograms exist at zero from its start, since a ratio over a series that does not exist has no value. A gauge exists
while it is measured: one that nobody measures is absent, never a zero that an operator would believe.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric as Family

from schemas.errors import DEAD_LETTER_REASONS, ErrorKind, ErrorReport
from schemas.stage import STAGES, Stage

Kind = Literal["counter", "gauge", "histogram"]
Process = Literal["coordinator", "worker", "views", "gateway", "notifier", "janitor"]
EVERY: Literal["every process"] = "every process"
MeasuredBy = Process | Literal["every process"]
Made = TypeVar("Made", Counter, Gauge, Histogram)
OTHER = "other"


@dataclass(frozen=True)
class Label:
    """A label and its values; none listed = as many as there are models or builds, never as there are jobs."""

    name: str
    values: tuple[str, ...] = ()

    def of(self, value: str) -> str:
        """`value`, or `other` where the label does not list it: words from outside never make a new series."""
        return value if value in self.values else OTHER


@dataclass(frozen=True)
class Metric:
    """One row of the catalogue."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    measured_by: MeasuredBy
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def label_names(self) -> list[str]:
        return [label.name for label in self.labels]

    @property
    def series(self) -> tuple[str, ...]:
        """The names that a query may use."""
        if self.kind == "histogram":
            return tuple(f"{self.name}{suffix}" for suffix in ("_bucket", "_sum", "_count"))
        return (self.name,)


class UnlabelledGauge(Gauge):
    """Absent until it is first set, and again once it is cleared, as one with labels is by itself."""

    is_measured = False

    def set(self, value: float) -> None:
        super().set(value)
        self.is_measured = True

    def inc(self, amount: float = 1) -> None:
        super().inc(amount)
        self.is_measured = True

    def dec(self, amount: float = 1) -> None:
        super().dec(amount)
        self.is_measured = True

    def clear(self) -> None:
        self.is_measured = False

    def collect(self) -> Iterable[Family]:
        return super().collect() if self.is_measured else ()


CATALOGUE: dict[str, Metric] = {}
_OBJECTS: dict[str, Counter | Gauge | Histogram] = {}

# One more series for every counter, that no query of ours uses.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


def counter(name: str, unit: str, measured_by: MeasuredBy, meaning: str, *labels: Label) -> Counter:
    row = Metric(f"latentline_{name}", "counter", unit, meaning, measured_by, labels)
    return _keep(row, Counter(row.name, meaning, row.label_names, registry=None))


def gauge(name: str, unit: str, measured_by: MeasuredBy, meaning: str, *labels: Label) -> Gauge:
    row = Metric(f"latentline_{name}", "gauge", unit, meaning, measured_by, labels)
    kind = Gauge if labels else UnlabelledGauge
    return _keep(row, kind(row.name, meaning, row.label_names, registry=None))


def histogram(
    name: str, buckets: tuple[float, ...], measured_by: MeasuredBy, meaning: str, *labels: Label
) -> Histogram:  # fmt: skip
    """Of durations, in seconds."""
    row = Metric(f"latentline_{name}", "histogram", "seconds", meaning, measured_by, labels, buckets)
    return _keep(row, Histogram(row.name, meaning, row.label_names, registry=None, buckets=buckets))


def _keep(row: Metric, made: Made) -> Made:
    CATALOGUE[row.name], _OBJECTS[row.name] = row, made
    return made


def registry_of(
    process: Process, models: Iterable[str] = (), stages: Iterable[Stage] = tuple(STAGES)
) -> CollectorRegistry:
    """What `/metrics` of this process shows: what it measures, and nothing that only others do.

    The series of `models` and `stages` exist at zero: the bundles that a service knows, the stages that it serves.
    """
    registry = CollectorRegistry(auto_describe=True)
    prometheus_client.ProcessCollector(registry=registry)
    prometheus_client.PlatformCollector(registry=registry)
    prometheus_client.GCCollector(registry=registry)
    expected = {MODEL.name: tuple(models), STAGE.name: tuple(stages)}
    for row in rows_of(process):
        if row.kind != "gauge" and row.labels:
            _create_series(row, expected)
        registry.register(_OBJECTS[row.name])
    return registry


def rows_of(process: Process) -> list[Metric]:
    """The rows of the catalogue that this process measures."""
    return [row for row in CATALOGUE.values() if row.measured_by in (process, EVERY)]


def _create_series(row: Metric, values: dict[str, tuple[str, ...]]) -> None:
    for chosen in itertools.product(*(values.get(label.name, label.values) for label in row.labels)):
        _OBJECTS[row.name].labels(**dict(zip(row.label_names, chosen, strict=True)))


def clear(gauges: Iterable[Gauge]) -> None:
    """These are no longer measured here: their series end."""
    for gauge in gauges:
        gauge.clear()


def set_state(states: Gauge, state: str) -> None:
    """Make `state` the one that is 1, of a gauge whose only label is `state`."""
    row = next(CATALOGUE[name] for name, made in _OBJECTS.items() if made is states)
    for value in row.labels[0].values:
        states.labels(value).set(value == row.labels[0].of(state))


def record(name: str, amount: float, labels: dict[str, str]) -> None:
    """Add to a counter, observe in a histogram or set a gauge by its name.

    For measurements that arrive as messages, as those of a worker's compute child do. Raises `KeyError` for a name that
    is not in the catalogue, `ValueError` for wrong labels.
    """
    made = _OBJECTS[name]
    series = made.labels(**labels) if labels else made
    if isinstance(series, Counter):
        series.inc(amount)
    elif isinstance(series, Histogram):
        series.observe(amount)
    else:
        series.set(amount)


def fault_of(error: ErrorReport | None) -> str:
    """Whose fault the end of a job is: the SLO counts only the server's."""
    if error is None:
        return "none"
    return "client" if error.kind is ErrorKind.INVALID_JOB else "server"


def _release() -> str:
    try:
        return version("latentline")
    except PackageNotFoundError:
        return "unreleased"


# -- labels --------------------------------------------------------------------------------------------------------

MODEL = Label("model")
"""The bundles that the line serves, and `none` for a prompt that never became a recipe."""
STAGE = Label("stage", tuple(STAGES))
OUTCOME = Label("outcome", ("completed", "failed", "cancelled"))
FAULT = Label("fault", ("none", "client", "server", "policy"))
STAGE_OUTCOME = Label("outcome", ("done", "reused", "failed", "preempted", "cancelled", "input_lost"))
RETRY_REASON = Label("reason", (
    "temporarily_unavailable", "store_unavailable", "gpu_out_of_memory", "compute_child_died", "input_lost",
    "internal_error", "unwanted_output", "unreadable_task", "unreadable_outcome", "worker_lost", "voided", "preempted",
    "cancelled", "overdue", "other_revision", OTHER,
))  # fmt: skip
WASTE_REASON = Label("reason", ("failed", "worker_lost", "void_lease", "unwanted", "cancelled", "redone", OTHER))
DEAD_LETTER_REASON = Label("reason", (
    *DEAD_LETTER_REASONS, "poison_job", "compute_child_died", "internal_error", "unreadable_task", "unreadable_outcome",
    "unwanted_output", "no_video", "foreign_object", "invalid_tensors", OTHER,
))  # fmt: skip
DUPLICATE = Label("where", ("prompt", "cancel", "delete", "expiry", "outcome", OTHER))
DEAD_LETTER_TOPIC = Label("topic", ("prompts", "reports", "jobs", OTHER))
STABLE_TOPIC = Label("topic", ("prompts", "reports", "jobs", OTHER))
OPERATION = Label("operation", ("get", "put", "put_if_absent", "put_if_match", "stat", "delete", "list"))
STORE_OUTCOME = Label("outcome", ("ok", "not_found", "lost_race", "unavailable"))
ARTIFACT = Label("kind", ("object", "manifest", "checkpoint", "preview", "video", "model"))
DIRECTION = Label("operation", ("get", "put"))
COORDINATOR_STATES = Label("state", ("standby", "replaying", "active"))
WORKER_STATES = Label("state", ("starting", "ready", "busy", "draining", "store_unreachable", "disk_full", OTHER))
SEEN_WORKERS = Label("state", ("ready", "busy", "draining", "unready"))
CHILD_END = Label("reason", ("died", "out_of_memory", "deadline", OTHER))
VIEWED_TOPIC = Label("topic", ("jobs", "completions"))
ROUTE = Label("route", (
    "create", "retrieve", "list", "delete", "cancel", "remix", "content", "events", "timeline", "models", "page",
    "webhooks", OTHER,
))  # fmt: skip
LOOP = Label("loop", ("coordinator", "worker", "event loop", "feed", "notifier", "janitor", "probe", OTHER))
REMOVAL = Label("why", ("deleted", "orphan"))
ANSWER = Label("answer", ("2xx", "3xx", "4xx", "5xx"))

WEBHOOK_OUTCOME = Label("outcome", ("delivered", "failed", "dropped"))
WEBHOOK_ANSWER = Label("answer", (*ANSWER.values, "none"))

# -- buckets, in seconds -------------------------------------------------------------------------------------------

JOB_SECONDS = (0.5, 1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 2400, 3600, 7200)
WORK_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 3600)
WAIT_SECONDS = (0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400)
DENOISE_STEP_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
REQUEST_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60)

# -- jobs, as the coordinator sees them ----------------------------------------------------------------------------

JOBS_SUBMITTED = counter("jobs_submitted_total", "jobs", "coordinator", "Prompts taken in as jobs.", MODEL)
JOBS_FINISHED = counter(
    "jobs_finished_total", "jobs", "coordinator",
    "Jobs ended, with whose fault it was: only `server` counts against us.", OUTCOME, FAULT, MODEL,
)  # fmt: skip
JOB_DURATION = histogram(
    "job_duration_seconds", JOB_SECONDS, "coordinator", "From acceptance to the job's end.", MODEL, OUTCOME
)
VIDEO_SECONDS = counter(
    "video_seconds_total", "seconds", "coordinator", "Duration of the videos of completed jobs.", MODEL
)
QUEUE_WAIT = histogram(
    "queue_wait_seconds", WAIT_SECONDS, "coordinator", "From when a stage could have run to its dispatch.", STAGE
)
JOBS_WAITING = gauge("jobs_waiting", "jobs", "coordinator", "Jobs whose stage waits for a slot or a retry.", STAGE)
JOBS_RUNNING = gauge("jobs_running", "jobs", "coordinator", "Jobs whose stage holds a lease.", STAGE)
OLDEST_JOB_AGE = gauge(
    "oldest_job_age_seconds", "seconds", "coordinator", "Age since acceptance of the oldest job in a stage.", STAGE
)
STAGE_BREAKER_OPEN = gauge(
    "stage_breaker_open", "boolean", "coordinator",
    "1 while most of a stage's tasks fail: probes alone go there.", STAGE,
)  # fmt: skip
RETRIES = counter("retries_total", "dispatches", "coordinator", "Stages sent back to wait.", STAGE, RETRY_REASON)
WASTED_SECONDS = counter(
    "wasted_seconds_total", "seconds", "coordinator", "Compute that gave nothing a job could use.", WASTE_REASON
)
DEAD_LETTERS = counter(
    "dead_letters_total", "records", "coordinator",
    "Records put to `dlq`; `jobs` are those that were given up. Of `reports` there should be none.",
    DEAD_LETTER_TOPIC, DEAD_LETTER_REASON,
)  # fmt: skip
DUPLICATES_SUPPRESSED = counter(
    "duplicates_suppressed_total", "events", "coordinator", "Events seen again and ignored.", DUPLICATE
)

# -- the coordinator itself ----------------------------------------------------------------------------------------

COORDINATOR_STATE = gauge(
    "coordinator_state", "boolean", "coordinator", "1 for what this instance is now.", COORDINATOR_STATES
)
WORKERS = gauge("workers", "workers", "coordinator", "Workers that are heard, by what they can do.", SEEN_WORKERS)
STANDSTILL = gauge(
    "standstill_seconds", "seconds", "coordinator",
    "For how long jobs have waited though a worker that fits is free and nothing was dispatched; else 0.", STAGE,
)  # fmt: skip
UNSERVED = gauge(
    "unserved_seconds", "seconds", "coordinator",
    "For how long jobs have waited with a model that no worker of the stage serves; else 0.", STAGE,
)  # fmt: skip
STABLE_LAG = gauge(
    "stable_offset_lag_records", "records", "coordinator",
    "From the last stable offset to the log's end: what nobody can read while a transaction is open.", STABLE_TOPIC,
)  # fmt: skip
STABLE_HELD = gauge(
    "stable_offset_held_seconds", "seconds", "coordinator",
    "For how long an open transaction has held the last stable offset where it is; else 0.", STABLE_TOPIC,
)  # fmt: skip
CELL_GAUGES = (
    JOBS_WAITING, JOBS_RUNNING, OLDEST_JOB_AGE, STAGE_BREAKER_OPEN, WORKERS, STANDSTILL, UNSERVED,
    STABLE_LAG, STABLE_HELD,
)  # fmt: skip
"""What only the active coordinator of the cell measures; of one that stands by they are absent."""
TRANSACTION_SECONDS = histogram(
    "transaction_seconds", REQUEST_SECONDS, "coordinator", "From the first produce of a batch to its commit."
)
TRANSACTION_ABORTS = counter("transaction_aborts_total", "transactions", "coordinator", "Batches rolled back.")

# -- workers -------------------------------------------------------------------------------------------------------

WORKER_STATE = gauge("worker_state", "boolean", "worker", "1 for what this worker is now.", WORKER_STATES)
STAGE_DURATION = histogram(
    "stage_duration_seconds", WORK_SECONDS, "worker",
    "From a task's start to its outcome, store included.", STAGE, MODEL, STAGE_OUTCOME,
)  # fmt: skip
STEP_SECONDS = histogram("denoise_step_seconds", DENOISE_STEP_SECONDS, "worker", "One denoise step.", MODEL)
COMPUTE_SECONDS = counter("compute_seconds_total", "seconds", "worker", "Time the compute child worked.", STAGE)
MODEL_LOAD_SECONDS = histogram(
    "model_load_seconds", WORK_SECONDS, "worker", "Loading one stage's component of a bundle.", MODEL
)
CHECKPOINT_RESUMES = counter(
    "checkpoint_resumes_total", "tasks", "worker", "Denoise tasks that went on from a checkpoint."
)
CHILD_RESTARTS = counter("child_restarts_total", "processes", "worker", "Compute children replaced.", CHILD_END)
PARKED_RESULTS = gauge("parked_results", "tasks", "worker", "Finished results that wait on local disk for the store.")
STORE_REQUEST_SECONDS = histogram(
    "store_request_seconds", REQUEST_SECONDS, "worker", "One request to the store.", OPERATION, STORE_OUTCOME
)
ARTIFACT_BYTES = counter("artifact_bytes_total", "bytes", "worker", "Moved to and from the store.", ARTIFACT, DIRECTION)

MODEL_LOAD, STORE_REQUEST, ARTIFACT_TRAFFIC = (
    "latentline_model_load_seconds", "latentline_store_request_seconds", "latentline_artifact_bytes_total",
)  # fmt: skip
"""What a worker's compute child measures and its stream process records."""

# -- views, gateway and all -----------------------------------------------------------------------------------------

VIEWS_LAG = gauge("views_lag_records", "records", "views", "Committed records not yet in the views.", VIEWED_TOPIC)
HTTP_SECONDS = histogram(
    "http_request_seconds", REQUEST_SECONDS, "gateway", "From a request to the begin of its answer.", ROUTE, ANSWER
)
HTTP_STREAMS = gauge("http_streams", "streams", "gateway", "Event streams that are open.")
WEBHOOK_DELIVERIES = counter(
    "webhook_deliveries_total", "deliveries", "notifier", "Webhook deliveries that have ended.", WEBHOOK_OUTCOME
)
WEBHOOK_ATTEMPTS = counter(
    "webhook_attempts_total", "requests", "notifier", "Requests to receivers of webhooks.", WEBHOOK_ANSWER
)
WEBHOOK_PENDING = gauge("webhook_pending", "deliveries", "notifier", "Webhook deliveries that have not ended.")
WEBHOOK_OLDEST = gauge(
    "webhook_oldest_pending_seconds", "seconds", "notifier", "Age of the oldest delivery that has not ended."
)
WEBHOOK_DISABLED = counter(
    "webhook_endpoints_disabled_total", "endpoints", "notifier", "Endpoints to which nothing more goes: all attempts "
    "failed, or they answered 410.",
)  # fmt: skip
JANITOR_REMOVED = counter(
    "janitor_removed_total", "objects", "janitor", "Objects removed from the store, by why.", REMOVAL
)
JANITOR_OLDEST = gauge(
    "janitor_oldest_search_seconds", "seconds", "janitor", "For how long the first search for what a deleted job left "
    "is overdue.",
)  # fmt: skip
CATALOGUED_VIDEOS = gauge("catalogued_videos", "videos", "janitor", "Finished videos that are kept.")
TURN_AGE = gauge(
    "turn_age_seconds", "seconds", EVERY,
    "Since the last turn of a loop of this process; at `LATENTLINE_STUCK_AFTER_S` the process ends itself.", LOOP,
)  # fmt: skip
BUILD_INFO = gauge("build_info", "boolean", EVERY, "1, labelled with the release.", Label("version"))
BUILD_INFO.labels(version=_release()).set(1)
