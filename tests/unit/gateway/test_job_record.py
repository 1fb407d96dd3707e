"""What the feed reads of the record of a job is what its whole state says."""

from __future__ import annotations

import pytest

from schemas import envelope
from schemas.job import JobState, JobStatus
from streams.gateway.job_record import JobRecord, read_job
from streams.gateway.pace import Pace
from streams.gateway.rows import values_of_job
from tests.bench.ended import versions_of_a_job
from tests.contract.examples import STATE

STATES = (STATE, STATE.model_copy(update={"status": JobStatus.DELETED, "deleting": True}), *versions_of_a_job())


def read(state: JobState) -> JobRecord:
    value, headers = envelope.write(state, id="one", source="test", time=1.8e9)
    job = read_job(value, headers)
    assert job is not None
    return job


@pytest.mark.parametrize("state", STATES)
def test_a_row_and_the_paces_are_those_of_the_whole_state(state: JobState) -> None:
    job, data = read(state), state.to_bytes()
    assert values_of_job(job, data) == values_of_job(state, data)
    assert job.is_submitted == state.is_submitted
    of_record, of_state = Pace(), Pace()
    of_record.learn(job)
    of_state.learn(state)
    assert of_record.seconds == of_state.seconds


def test_it_has_the_names_of_the_state() -> None:
    assert set(JobRecord.__struct_fields__) <= JobState.model_fields.keys()


def test_what_is_no_state_is_none() -> None:
    value, headers = envelope.write(STATE, id="one", source="test", time=1.8e9)
    assert read_job(value, []) is None
    assert read_job(value[:-1], headers) is None
    assert read_job(b"\xff", headers) is None
