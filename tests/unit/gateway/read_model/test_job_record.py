"""What the feed reads of a job's record is what the whole state says."""

from __future__ import annotations

import pytest

from gateway.read_model.eta import EtaEstimator
from gateway.read_model.job_record import JobRecord, read_job
from gateway.read_model.rows import values_of_job
from schemas.job import JobState
from tests.contract import golden

STATES = {name: event for name, event in golden.EXAMPLES.items() if isinstance(event, JobState)}


@pytest.mark.parametrize("name", STATES)
def test_a_record_gives_the_row_and_the_paces_that_the_whole_state_gives(name: str) -> None:
    value, headers = golden.value(name), golden.headers(name)
    record, state = read_job(value, headers), JobState.read(value)
    assert isinstance(record, JobRecord)
    assert record.is_submitted == state.is_submitted
    assert values_of_job(record, value) == values_of_job(state, value)
    of_record, of_state = EtaEstimator(), EtaEstimator()
    of_record.learn(record)
    of_state.learn(state)
    assert of_record.seconds == of_state.seconds


def test_what_is_no_state_of_a_job_is_passed_over() -> None:
    name = next(iter(STATES))
    value, headers = golden.value(name), golden.headers(name)
    assert read_job(value[:-1], headers) is None
    assert read_job(value, []) is None
    assert read_job(b'{"job":7}', headers) is None
