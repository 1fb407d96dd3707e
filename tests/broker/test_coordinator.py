"""The coordinator on the real broker: every record is answered once, also one that nobody can read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from confluent_kafka import TopicPartition

from runtime.settings import Settings
from schemas import envelope
from schemas.envelope import type_of
from schemas.events.completions import JobCancelled, JobCompleted, JobFailed
from schemas.events.prompts import PromptSubmitted
from schemas.job import JobStatus
from schemas.stage_keys import identity_of, job_id
from streams.coordinator.core import dispatch
from streams.coordinator.core.records import LARGEST_STATE_BYTES
from streams.coordinator.core.transitions import ended, new_job
from streams.kafka import clients
from streams.kafka.topics import DLQ, JOBS, PROMPTS, REPORTS
from tests.broker.coordinating import coordinating, finish, one_end, write_state
from tests.broker.workers import PlayedWorker
from tests.processes import Tail, Upstream, states_of, tail
from tests.support import eventually

pytestmark = pytest.mark.broker


def test_a_job_ends_once_and_offsets_move_with_its_results(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail
) -> None:
    with coordinating(quick) as coordinator:
        job = upstream.submit()
        assert isinstance(finish(worker, completions, job), JobCompleted)
        offsets = coordinator.group.committed([TopicPartition(PROMPTS.named(quick.topic_prefix), 0)], timeout=30)
        assert offsets[0].offset == 1
    with coordinating(quick):
        second = upstream.submit()
        assert isinstance(finish(worker, completions, second), JobCompleted)
    assert isinstance(one_end(completions, job), JobCompleted)


def test_nothing_is_placed_before_heartbeats_of_its_own_time_have_been_read(
    quick: Settings, upstream: Upstream, worker: PlayedWorker
) -> None:
    worker.beat()
    upstream.submit()
    with coordinating(quick) as coordinator:
        [cell] = coordinator.cells.values()
        assert cell.ledger.is_held
        assert worker.tasks() == []
        eventually(worker.tasks)
        assert not cell.ledger.is_held


def test_a_poison_event_is_found_in_its_batch_and_the_others_are_served(
    quick: Settings, upstream: Upstream, jobs: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = dispatch.take

    def poisoned(ledger: Any, policy: Any, record: dispatch.Record, now: float) -> Any:
        if b"poison" in (record.value or b""):
            raise ZeroDivisionError("poison")
        return take(ledger, policy, record, now)

    monkeypatch.setattr(dispatch, "take", poisoned)
    prompts = ["a red square moving left on a blue background"] * 5
    ids = [upstream.submit(prompt) for prompt in [*prompts[:2], "a poison prompt", *prompts[2:]]]
    with coordinating(quick), tail(quick, DLQ) as letters:
        eventually(lambda: len(states_of(jobs.events())) == 6)
        states = states_of(jobs.events())
        assert [job for job in ids if states[job].status is JobStatus.FAILED] == [ids[2]]
        [(_, value, headers)] = eventually(letters.poll)
        assert b"a poison prompt" in (value or b"")
        assert dict(headers)["dlq_reason"] == b"poison_event"
        assert dict(headers)["dlq_origin"] == b"prompts/0/2"


def test_a_prompt_that_cannot_be_taken_in_fails_its_job_once_and_no_other(
    quick: Settings, upstream: Upstream, jobs: Tail, completions: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with a wrong field, one that the core cannot take: each is a dead letter and one failure that all see."""
    take = dispatch.take

    def poisoned(ledger: Any, policy: Any, record: dispatch.Record, now: float) -> Any:
        if b"poison" in (record.value or b""):
            raise ZeroDivisionError("poison")
        return take(ledger, policy, record, now)

    monkeypatch.setattr(dispatch, "take", poisoned)
    around = [("ce_type", type_of(PromptSubmitted).encode()), ("ce_id", b"1"), ("ce_source", b"test")]
    fields: dict[str, dict[str, object]] = {
        "wrong": {"prompt": "a red square", "seed": "many"}, "bad": {"prompt": "poison"}, "good": {"prompt": 7},
    }  # fmt: skip
    bodies = {key: orjson.dumps(asked | {"idempotency_key": key}) for key, asked in fields.items()}
    with coordinating(quick), tail(quick, DLQ) as letters:
        good = upstream.submit(idempotency_key="good")
        for body in [*bodies.values(), *bodies.values()]:
            upstream.send_raw(body, around)
        last = upstream.submit()
        eventually(lambda: last in states_of(jobs.events()))
        wrong, bad = [one_end(completions, job_id("default", key)) for key in ("wrong", "bad")]
        assert isinstance(wrong, JobFailed)
        assert isinstance(bad, JobFailed)
        assert (wrong.error.field, bad.error.code) == ("seed", "not_taken_in")
        assert states_of(jobs.events())[good].status is JobStatus.WAITING
        assert [value for _, value, _ in letters.poll()].count(bodies["wrong"]) == 1


def test_an_outcome_that_cannot_be_read_fails_its_lease(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, jobs: Tail
) -> None:
    with coordinating(quick):
        job = upstream.submit()
        [task] = eventually(worker.tasks)
        worker.start(task)
        headers = [("ce_id", b"1"), ("ce_type", b"latentline.done.v9"), ("ce_lease", str(task.lease).encode()),
                   ("ce_job", job.encode()), ("ce_incarnation", worker.incarnation.encode())]  # fmt: skip
        worker.ended.add(task.lease)
        worker.say_raw(b"{}", headers, worker.incarnation)
        eventually(lambda: states_of(jobs.events())[job].attempts)
        state = states_of(jobs.events())[job]
        assert state.attempts[0].outcome == "failed"
        assert state.attempts[0].error is not None
        assert state.attempts[0].error.code == "unreadable_outcome"
        assert state.status is not JobStatus.FAILED


def test_a_silent_worker_loses_its_lease_to_another(quick: Settings, upstream: Upstream, completions: Tail) -> None:
    silent, heard = PlayedWorker(quick, "silent"), PlayedWorker(quick, "heard", slots=0)
    with coordinating(quick):
        job = upstream.submit()
        [task] = eventually(silent.tasks)
        silent.start(task)
        heard.slots = 4
        assert isinstance(finish(heard, completions, job), JobCompleted)
        silent.finish(task)
        assert isinstance(one_end(completions, job), JobCompleted)
    silent.close()
    heard.close()


def test_a_prompt_of_more_tokens_than_its_model_reads_fails_before_anybody_works_on_it(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail
) -> None:
    with coordinating(quick):
        job = upstream.submit(" ".join(["red"] * 16))
        end = eventually(lambda: one_end(completions, job))
    assert isinstance(end, JobFailed)
    assert (end.error.field, end.error.nearest, worker.tasks()) == ("prompt", "16 tokens", [])


def test_two_services_that_both_number_from_one_have_a_job_each_and_a_replay_none(
    quick: Settings, upstream: Upstream, jobs: Tail
) -> None:
    """CloudEvents name an event by source and id. What the release before has accepted went by the id alone."""
    asked = PromptSubmitted(prompt="a red square moving right on a blue background")
    before = new_job(job_id("default", "2"), "default", asked.body_digest, 1.8e9)
    write_state(quick, ended(before, JobStatus.CANCELLED, 1.8e9))
    events = [("orders", "1"), ("adverts", "1"), ("orders", "1"), ("orders", "2"), ("adverts", "3")]
    with coordinating(quick):
        for source, id in events:
            upstream.send_raw(*envelope.write(asked, id=id, source=source, time=1.8e9))
        wanted = [identity_of(asked, source, id).job for source, id in events]
        eventually(lambda: wanted[-1] in states_of(jobs.events()))
    known = set(states_of(jobs.events()))
    assert (known, len(known)) == ({before.job, wanted[0], wanted[1], wanted[4]}, 4)


def test_a_replayed_partition_changes_nothing(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail
) -> None:
    """Committed offsets are lost: every prompt comes again, and stubs make each a no-op."""
    with coordinating(quick):
        job = upstream.submit()
        assert isinstance(finish(worker, completions, job), JobCompleted)
    topics = (PROMPTS, REPORTS)
    reset = clients.consumer(clients.TOOL, quick, group_id=f"{quick.topic_prefix}latentline.coordinator")
    reset.commit(
        offsets=[TopicPartition(topic.named(quick.topic_prefix), 0, 0) for topic in topics], asynchronous=False
    )
    reset.close()
    with coordinating(quick):
        second = upstream.submit()
        assert isinstance(finish(worker, completions, second), JobCompleted)
    assert isinstance(one_end(completions, job), JobCompleted)
    assert not [event for event in completions.events() if isinstance(event, JobFailed)]


def test_a_job_that_an_earlier_release_let_near_the_cap_costs_nobody_else(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail
) -> None:
    """A name of metadata of 260,000 characters: its first dispatch makes the state too large for its record."""
    with coordinating(quick):
        waiting, cancelled = upstream.submit(), upstream.submit()
        with tail(quick, JOBS) as jobs:
            eventually(lambda: len(states_of(jobs.events())) == 2)
            for state in states_of(jobs.events()).values():
                room = LARGEST_STATE_BYTES - len(state.replace(metadata={"": "v"}).to_bytes())
                write_state(quick, state.replace(metadata={"n" * room: "v"}))
    with coordinating(quick) as coordinator, tail(quick, DLQ) as letters:
        upstream.cancel(cancelled)
        assert isinstance(finish(worker, completions, cancelled), JobCancelled)
        healthy = upstream.submit()
        assert isinstance(finish(worker, completions, healthy), JobCompleted)
        end = one_end(completions, waiting)
        assert isinstance(end, JobFailed)
        assert end.error.field == "job"
        assert letters.poll() == []
        assert coordinator.failures == []


def test_a_placement_that_raises_blames_no_record(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = dispatch.place
    broken = [True]

    def placing(ledger: Any, now: float) -> Any:
        if broken[0] and any(state.status is JobStatus.WAITING for state in ledger.jobs.values()):
            raise ZeroDivisionError("a bug of placement")
        return place(ledger, now)

    monkeypatch.setattr(dispatch, "place", placing)
    with coordinating(quick) as coordinator, tail(quick, DLQ) as letters, tail(quick, JOBS) as jobs:
        job = upstream.submit()
        eventually(lambda: job in states_of(jobs.events()))
        worker.beat()
        broken[0] = False
        assert isinstance(finish(worker, completions, job), JobCompleted)
        assert letters.poll() == []
        assert coordinator.failures == []
