"""A create of which `jobs` never tells, on the real broker: it waits for a coordinator, and not beyond one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from gateway.read_model import missing_jobs
from gateway.read_model.missing_jobs import MissingJobs
from gateway.read_model.read_model import ReadModel
from runtime.settings import Settings
from schemas.job import JobStatus
from streams.kafka import clients
from streams.kafka.topics import PROMPTS
from tests.processes import Upstream
from tests.support import eventually
from tests.unit.gateway.samples import job

pytestmark = pytest.mark.broker


def test_it_fails_once_the_coordinator_has_committed_beyond_it_and_no_sooner(
    quick: Settings, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("LOOK_EVERY_S", 0.1), ("GRACE_S", 0.3)):
        monkeypatch.setattr(missing_jobs, name, seconds)
    model, told, looks = ReadModel.in_folder(tmp_path), list[str](), list[float]()
    model.open_source("log", 0.0)
    upstream.submit()
    model.expect([state := job(accepted_at=time.time() - 60)])

    def read_until() -> float:
        looks.append(time.time())
        return looks[-1]

    def status() -> JobStatus | None:
        row = model.find(state.job)
        return None if row is None else row.state.status

    missing = MissingJobs(quick, model, read_until, told.extend)
    try:
        eventually(lambda: len(looks) > 5)
        assert status() is JobStatus.WAITING
        group = f"{quick.topic_prefix}{clients.COORDINATORS_GROUP}"
        coordinator = clients.consumer(clients.TOOL, quick, group_id=group)
        coordinator.commit(offsets=[TopicPartition(PROMPTS.named(quick.topic_prefix), 0, 1)], asynchronous=False)
        coordinator.close()
        eventually(lambda: status() is JobStatus.FAILED)
        assert told == [state.job]
    finally:
        missing.close()
        model.close()
