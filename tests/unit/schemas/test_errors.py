"""The tree of errors is the one table of codes, and every error says what happens next."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import metrics
from schemas import errors
from schemas.errors import (
    DEAD_LETTER_REASONS,
    RETRIES,
    Bug,
    ErrorKind,
    ErrorReport,
    InvalidJob,
    LatentlineError,
    report_of,
    shorten,
)

PROJECT = Path(__file__).resolve().parents[3]
FOLDERS = ("schemas", "runtime", "gpu_runner", "stages", "streams", "webhooks", "operations", "gateway")
TREE = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, LatentlineError)]
KINDS = pytest.mark.parametrize("kind", ErrorKind)


@KINDS
def test_every_kind_decides_its_retry(kind: ErrorKind) -> None:
    retry = ErrorReport(kind=kind, code="x", message="x").retry
    assert retry is RETRIES[kind]
    assert retry.attempts >= 1


@KINDS
@given(failures=st.integers(-5, 10_000))
def test_delays_grow_and_stay_bounded(kind: ErrorKind, failures: int) -> None:
    retry = RETRIES[kind]
    assert 0 <= retry.delay(failures) <= retry.delay(failures + 1) <= retry.longest_delay


def test_only_the_infrastructure_costs_no_attempt() -> None:
    assert [kind for kind in ErrorKind if not RETRIES[kind].costs_attempt] == [ErrorKind.INFRASTRUCTURE]


def test_an_invalid_job_is_never_tried_again() -> None:
    assert InvalidJob("fps", 0, "must be between 1 and 60").report().retry.attempts == 1


def test_a_kind_of_a_newer_writer_is_unknown_and_has_a_retry() -> None:
    report = ErrorReport.read({"kind": "from_the_future", "code": "x", "message": "x"})
    assert report.kind is ErrorKind.UNKNOWN
    assert report.retry.attempts == RETRIES[ErrorKind.BUG].attempts


@given(value=st.text(max_size=5000) | st.integers() | st.floats(), limit=st.text(), nearest=st.none() | st.integers())
def test_a_report_of_any_value_fits_and_survives_the_wire(value: object, limit: str, nearest: int | None) -> None:
    error = InvalidJob("field", value, limit, nearest)
    assert ErrorReport.read(error.report().to_bytes()) == error.report()
    assert len(error.value) <= 80


@given(message=st.text(st.characters(), max_size=5000))
def test_any_exception_has_a_report(message: str) -> None:
    report = report_of(ValueError(message))
    assert (report.kind, report.code) == (ErrorKind.BUG, Bug.code)
    assert report.message.startswith("ValueError: ")
    assert ErrorReport.read(report.to_bytes()) == report


def test_megabytes_are_not_quoted_whole() -> None:
    assert shorten("x" * 10_000_000) == "'" + "x" * 78 + "…"
    assert shorten("x") == "'x'"
    assert shorten(1.5) == "1.5"


# -- one table ---------------------------------------------------------------------------------------------------


def calls() -> Iterator[ast.Call]:
    for folder in FOLDERS:
        for path in (PROJECT / folder).rglob("*.py"):
            yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def words(name: str, keyword: str) -> set[str]:
    """The text constants that calls of `name` pass first or as `keyword`."""
    found = set()
    for call in calls():
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
        if called == name:
            given = [*call.args[:1], *(pair.value for pair in call.keywords if pair.arg == keyword)]
            found |= {node.value for node in given if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return found


def test_no_code_is_spelled_that_the_tree_does_not_have() -> None:
    assert words("ErrorReport", "code") <= {error.code for error in TREE}


def test_no_reason_is_spelled_that_the_table_does_not_have() -> None:
    assert words("UnreadableEvent", "reason") | words("dead_letter", "reason") <= set(DEAD_LETTER_REASONS)


def test_every_reason_has_its_series() -> None:
    assert set(DEAD_LETTER_REASONS) <= set(metrics.DEAD_LETTER_REASON.values)


def test_every_error_of_the_tree_says_what_it_is() -> None:
    assert all(error.__doc__ for error in TREE)
    own = [error.code for error in TREE if "code" in vars(error)]
    assert len(own) == len(set(own))
