"""Creates of which `jobs` never tells: given up once the coordinator has passed them, and no sooner."""

from __future__ import annotations

from gateway.dependencies import Gateway
from gateway.read_model.missing_jobs import GRACE_S, Missing
from gateway.read_model.read_model import ReadModel
from schemas.errors import NotTakenIn
from schemas.job import JobStatus
from tests.unit.gateway.samples import NOW, SOME, asked, job, taken

ERROR = NotTakenIn("the line has not taken it in").report()


def test_what_a_coordinator_that_is_away_has_not_read_waits_for_ever() -> None:
    missing = Missing()
    for hours in range(100):
        now = 3600.0 * hours
        assert missing.due(["a"], {0: 8 + hours}, {0: 7}, now, now) == []


def test_what_the_coordinator_has_passed_is_missing_after_a_grace_period() -> None:
    missing = Missing()
    assert missing.due(["a"], {0: 8}, {0: 7}, 100.0, 100.0) == []
    assert missing.due(["a"], {0: 12}, {0: 8}, 200.0, 200.0) == []
    assert missing.due(["a", "b"], {0: 12}, {0: 8}, 199.0, 201.0 + GRACE_S) == []
    assert missing.due(["a", "b"], {0: 12}, {0: 8}, 201.0 + GRACE_S, 201.0 + GRACE_S) == ["a"]


def test_a_job_that_is_told_of_meanwhile_is_forgotten() -> None:
    missing = Missing()
    missing.due(["a"], {0: 8}, {0: 8}, 100.0, 100.0)
    assert missing.due([], {0: 8}, {0: 8}, 101.0 + GRACE_S, 101.0 + GRACE_S) == []
    assert (missing.marks, missing.passed) == ({}, {})


def test_no_partition_may_lag(model: ReadModel) -> None:
    missing = Missing()
    for now in (100.0, 101.0 + GRACE_S):
        assert missing.due(["a"], {0: 8, 1: 5}, {0: 8, 1: 4}, now, now) == []
    for now in (200.0, 201.0 + GRACE_S):
        due = missing.due(["b"], {0: 8, 1: 0}, {0: 8}, now, now)
    assert due == ["b"]


def test_a_job_that_was_given_up_is_shown_as_failed_until_jobs_tells_of_it(gateway: Gateway) -> None:
    model, state = gateway.model, job()
    model.expect([state, job(1)])
    assert model.all_expected(NOW) == []
    assert model.all_expected(NOW + 1) == [state.job]
    assert model.give_up(state.job, ERROR, NOW)
    answer = asked(gateway, "GET", SOME).json()
    assert (answer["status"], answer["error"]["code"]) == ("failed", "internal_error")
    assert "event: done" in asked(gateway, "GET", f"{SOME}/events").text
    assert model.all_expected(NOW + 9) == [job(1).job]
    assert model.ahead_of(job(1)) == 0
    taken(model, state)
    assert asked(gateway, "GET", SOME).json()["status"] == "queued"
    assert not model.give_up(state.job, ERROR, NOW)


def test_a_row_that_is_never_told_of_goes_in_time(model: ReadModel) -> None:
    model.expect([job(), job(1), job(2)])
    taken(model, job(1))
    model.give_up(job().job, ERROR, NOW)
    model.forget_expected(NOW + 2)
    found = [model.find(job(number).job) for number in range(3)]
    assert [row and row.state.status for row in found] == [None, JobStatus.WAITING, JobStatus.WAITING]
