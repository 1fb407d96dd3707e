"""The audit of `completions`: one for each ended job, which says what its state says."""

from __future__ import annotations

from typing import Any

import pytest

from operations.audit.completions import check_completions
from operations.audit.jobs import JobsLog
from schemas.events.completions import Completion
from tests.unit.operations.audit.samples import JOB, NOW, VIDEO, completion, job, log_of, said, waiting


def ends_of(*ends: Completion) -> dict[str, list[Completion]]:
    return {JOB: list(ends)}


def test_each_ended_job_has_exactly_one_completion() -> None:
    state = job()
    log = log_of(state)
    assert said(check_completions({JOB}, log, ends_of(completion(state)), NOW)) == []
    assert said(check_completions({JOB}, log, {}, NOW)) == ["it is completed and has no completion"]
    assert said(check_completions({JOB}, log, ends_of(completion(state), completion(state)), NOW)) == [
        "it has 2 completions"
    ]


def test_what_retention_took_and_what_is_still_on_its_way_is_no_breach() -> None:
    week_ago = job(ended_at=NOW - 8 * 24 * 3600)
    assert said(check_completions({JOB}, log_of(week_ago), {}, NOW)) == []
    assert said(check_completions(set(), log_of(job()), {}, NOW)) == []


def test_a_completion_of_a_job_that_has_not_ended_or_does_not_exist() -> None:
    end = completion(job())
    assert said(check_completions(set(), log_of(waiting()), ends_of(end), NOW)) == [
        "it is waiting and its completion is a JobCompleted"
    ]
    assert said(check_completions(set(), JobsLog(), ends_of(end), NOW)) == [
        "it has a completion, and nobody knows the job"
    ]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"tenant": "other"}, "tenant"),
        ({"ended_at": NOW + 1}, "time of the end"),
        ({"video": VIDEO.model_copy(update={"size": 1})}, "video"),
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"stages": ()}, "compute seconds"),
    ],
)
def test_a_completion_says_what_the_state_says(changes: dict[str, Any], what: str) -> None:
    end = completion(job(), **changes)
    assert said(check_completions({JOB}, log_of(job()), ends_of(end), NOW)) == [f"its completion has another {what}"]
