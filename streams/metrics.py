"""The metric catalogue: every name, unit, meaning and label that a process of the line may expose.

Each constant is a `prometheus_client` object on `REGISTRY`, made from a row of `CATALOGUE`; dashboards and docs/metrics.md
are generated from the same rows. Series whose labels are all bounded exist at zero from the start, since a ratio over
a series that does not exist has no value; series with a `model` label follow with `expect_models`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

Kind = Literal["counter", "gauge", "histogram"]
Process = Literal["coordinator", "worker", "views", "every process"]
OTHER = "other"


@dataclass(frozen=True)
class Label:
    """A label and its values; none listed = as many as there are served models (or builds), never as there are jobs."""

    name: str
    values: tuple[str, ...] = ()

    def of(self, value: str) -> str:
        """`value`, or `other` where the label does not know it: words from outside never make a new series."""
        return value if value in self.values else OTHER


@dataclass(frozen=True)
class Metric:
    """One row of the catalogue."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    measured_by: Process
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names that a query may use."""
        if self.kind == "histogram":
            return tuple(f"{self.name}{suffix}" for suffix in ("_bucket", "_sum", "_count"))
        return (self.name,)

    @property
    def is_bounded(self) -> bool:
        return all(label.values for label in self.labels)


REGISTRY = CollectorRegistry(auto_describe=True)
CATALOGUE: list[Metric] = []
_OBJECTS: dict[str, MetricWrapperBase] = {}

# One more series for every counter, that no query of ours uses.
prometheus_client.disable_created_metrics()
prometheus_client.ProcessCollector(registry=REGISTRY)
prometheus_client.PlatformCollector(registry=REGISTRY)
prometheus_client.GCCollector(registry=REGISTRY)


def counter(name: str, unit: str, by: Process, meaning: str, *labels: Label) -> Counter:
    row = _row(Metric(f"latentline_{name}", "counter", unit, meaning, by, labels))
    made = Counter(row.name, row.meaning, [label.name for label in labels], registry=REGISTRY)
    return _keep(row, made)


def gauge(name: str, unit: str, by: Process, meaning: str, *labels: Label) -> Gauge:
    row = _row(Metric(f"latentline_{name}", "gauge", unit, meaning, by, labels))
    made = Gauge(row.name, row.meaning, [label.name for label in labels], registry=REGISTRY)
    return _keep(row, made)


def histogram(name: str, buckets: tuple[float, ...], by: Process, meaning: str, *labels: Label) -> Histogram:
    """Durations only, so the unit is seconds."""
    row = _row(Metric(f"latentline_{name}", "histogram", "seconds", meaning, by, labels, buckets))
    made = Histogram(row.name, row.meaning, [label.name for label in labels], registry=REGISTRY, buckets=buckets)
    return _keep(row, made)


def _row(row: Metric) -> Metric:
    CATALOGUE.append(row)
    return row


def _keep[Made: MetricWrapperBase](row: Metric, made: Made) -> Made:
    _OBJECTS[row.name] = made
    if row.labels and row.is_bounded:
        _create_series(row)
    return made
