"""What a process finds at its start that it must not work with: it says so, and touches nothing."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import NewPartitions

from infra.local import topics
from runtime.settings import Settings
from schemas.bundle import read_bundles
from schemas.events.completions import JobCompleted
from schemas.events.prompts import DeleteRequested
from schemas.job import FORMAT, JobState, JobStatus
from schemas.stage import Stage
from streams.coordinator.service.changelog import ChangelogUnreadable
from streams.coordinator.service.main import Coordinator
from streams.coordinator.service.policy import policy_of
from streams.kafka import clients
from streams.kafka.partitions import WrongPartitions
from streams.kafka.topics import COMPLETIONS, JOBS, PROMPTS, TASKS_MUX, Topic
from streams.worker.loop.inbox import Inboxes
from tests.broker.coordinating import coordinating, finish, write_state
from tests.broker.workers import PlayedWorker
from tests.contract import golden
from tests.contract.examples import JOB
from tests.processes import Service, Upstream, states_of, tail
from tests.support import eventually

pytestmark = pytest.mark.broker


def coordinate(settings: Settings) -> None:
    """The service, until it refuses."""
    coordinator = Coordinator(settings, policy_of(settings, read_bundles(settings.bundles), "in-process"))
    try:
        coordinator.run()
    finally:
        coordinator.close()


def add_partitions(settings: Settings, topic: Topic, total: int) -> None:
    """As an operator would by hand; a broker acknowledges it before all clients see it."""
    name, client = topic.named(settings.topic_prefix), topics.admin(settings)
    client.create_partitions([NewPartitions(name, total)])[name].result(30)
    eventually(lambda: len(client.list_topics(timeout=10).topics[name].partitions) == total)


def golden_state() -> JobState:
    state = JobState.read(golden.value("latentline.job_state.v1"))
    return state.model_copy(update={"status": JobStatus.FAILED, "lease": None})


def test_states_of_the_last_release_are_taken_over(quick: Settings) -> None:
    write_state(quick, golden_state())
    upstream, worker = Upstream(quick), PlayedWorker(quick)
    with tail(quick, COMPLETIONS) as completions, tail(quick, JOBS) as jobs, coordinating(quick) as coordinator:
        [cell] = coordinator.cells.values()
        assert cell.ledger.ended[JOB].status is JobStatus.FAILED
        upstream.send(DeleteRequested(job=JOB, tenant="acme"))
        assert isinstance(finish(worker, completions, upstream.submit()), JobCompleted)
        deleted = states_of(jobs.events())[JOB]
        assert (deleted.status, deleted.format) == (JobStatus.DELETED, FORMAT)
    worker.close()


def test_a_changelog_of_a_newer_release_is_refused_and_the_process_ends_with_the_reason(quick: Settings) -> None:
    write_state(quick, golden_state().model_copy(update={"format": FORMAT + 1}))
    with pytest.raises(ChangelogUnreadable, match=rf"offset 0: .* has format {FORMAT + 1}.*run that one again"):
        coordinate(quick)
    service = Service(quick, "coordinator", "coordinator").start()
    assert service.wait() == 1
    assert "refuses" in service.tail()
    assert f"has format {FORMAT + 1}" in service.tail()


def test_more_partitions_than_cells_are_refused_at_the_start(quick: Settings) -> None:
    add_partitions(quick, PROMPTS, 3)
    with pytest.raises(WrongPartitions, match=r"prompts has 3 partitions and the line 1 cell.*delete the topic while"):
        coordinate(quick)


@pytest.mark.long
def test_partitions_that_are_added_under_load_are_noticed(quick: Settings) -> None:
    """Within a refresh of the group's metadata; nobody serves the others."""
    with coordinating(quick) as coordinator:
        Upstream(quick).submit()
        add_partitions(quick, PROMPTS, 2)
        eventually(lambda: coordinator.failures, 90)
        assert isinstance(coordinator.failures[0], WrongPartitions)
        assert "has 2 partitions and the line 1 cell" in str(coordinator.failures[0])


def test_more_partitions_of_an_inbox_topic_are_no_harm(quick: Settings) -> None:
    add_partitions(quick, TASKS_MUX, TASKS_MUX.partitions + 2)
    Inboxes(quick, (Stage.MUX,), "incarnation", clients.ErrorWatch(), lambda letter: None).close()


def test_fewer_are_refused(line: Settings) -> None:
    """`model_copy` checks nothing: no process can be set so."""
    settings = line.model_copy(update={"cells": 2})
    with pytest.raises(WrongPartitions, match="reports has 1 of 2 partitions: `latentline topics apply`"):
        Inboxes(settings, (Stage.MUX,), "incarnation", clients.ErrorWatch(), lambda letter: None)
