"""A query may only ask for what the catalogue has: names, labels, and the values of bounded labels."""

from __future__ import annotations

import re
from typing import Any

import promql_parser

from runtime.metrics import CATALOGUE, EVERY, Label, Metric

TARGET_LABELS = ("job", "instance", "service")
"""What scraping adds to every series: infra/prometheus/prometheus.yml."""
FROM_PROMETHEUS = {"up": Metric("up", "gauge", "boolean", "1 while a target answers.", EVERY)}
GRAFANA_VARIABLE = re.compile(r"\$__(rate_interval|interval|range)")
SERIES = {name: row for row in (CATALOGUE | FROM_PROMETHEUS).values() for name in row.series}


class InvalidQuery(ValueError):
    """The message names the query and what is wrong with it."""


def metrics_of(query: str) -> tuple[Metric, ...]:
    """The catalogue's rows behind a PromQL query, in order of appearance.

    Raises `InvalidQuery` when it does not parse, or names a series, label or label value that does not exist.
    """
    try:
        root = promql_parser.parse(GRAFANA_VARIABLE.sub("5m", query))
    except ValueError as error:
        raise InvalidQuery(f"{query}: {error}") from None
    selectors, groupings = _parts(root)
    rows = dict.fromkeys(_row(selector, query) for selector in selectors)
    known = {*TARGET_LABELS, "le", *(label.name for row in rows for label in row.labels)}
    for name in groupings:
        _require(name in known, query, f"groups by {name!r}, a label of none of its metrics")
    return tuple(rows)


def _parts(root: Any) -> tuple[list[Any], list[str]]:
    """Every selector of a query, and every label that it groups by."""
    selectors: list[Any] = []
    groupings: list[str] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            selectors.append(node)
        elif isinstance(node, promql_parser.MatrixSelector):
            selectors.append(node.vector_selector)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            groupings.extend(node.modifier.labels)

    promql_parser.walk(root, visit)
    return selectors, groupings


def _row(selector: Any, query: str) -> Metric:
    _require(selector.name in SERIES, query, f"{selector.name!r} is no series of the catalogue")
    row = SERIES[selector.name]
    labels = {label.name: label for label in row.labels} | {name: Label(name) for name in TARGET_LABELS}
    for matcher in selector.matchers.matchers:
        _require(matcher.name in labels, query, f"{row.name} has no label {matcher.name!r}")
        allowed = labels[matcher.name].values
        exact = matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual)
        _require(
            not (allowed and exact) or matcher.value in allowed,
            query,
            f"{row.name} has no {matcher.name} {matcher.value!r}, only {', '.join(allowed)}",
        )
    return row


def _require(truth: bool, query: str, problem: str) -> None:
    if not truth:
        raise InvalidQuery(f"{query}: {problem}")
