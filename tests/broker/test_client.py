"""The client on the real broker: what it writes, what it reads, and that no end of a job is missed or told twice."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import cast

import pytest
from confluent_kafka import Message, Producer

from runtime.settings import Settings
from schemas import envelope
from schemas.base import Frozen
from schemas.events.completions import Completion
from schemas.events.progress import StepProgress
from schemas.events.prompts import CancelRequested, PromptSubmitted
from schemas.job import JobState, JobStatus
from schemas.stage import Stage
from schemas.stage_keys import identity_of, job_id
from streams.client.follow import Follower
from streams.client.snapshot import snapshot
from streams.client.submit import cancel, send, submit
from streams.client.updates import Changed, Ended, Stepped
from streams.kafka import clients
from streams.kafka.errors import ClientError, NothingHappened, TopicMissing, UnknownJobs, Unreachable
from streams.kafka.reader import Reader, event_of
from streams.kafka.topics import COMPLETIONS, JOBS, PROGRESS, PROMPTS, Topic
from tests.support import eventually
from tests.unit.streams.usage.test_reducers import completion_of, ended_state, waiting

pytestmark = pytest.mark.broker

JOB = "video_" + "a" * 32
OTHER = "video_" + "b" * 32


@contextmanager
def transaction(line: Settings, commit: bool = True) -> Iterator[Producer]:
    producer = clients.producer(clients.TRANSACTIONAL, line, transactional_id=f"{line.topic_prefix}{uuid.uuid4()}")
    producer.init_transactions(30)
    producer.begin_transaction()
    yield producer
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def send_event(producer: Producer, line: Settings, topic: Topic, key: str, event: Frozen) -> None:
    value, headers = envelope.write(event, id=str(uuid.uuid4()), source="test", time=time.time())
    producer.produce(topic.named(line.topic_prefix), value, key, headers=[*headers])


def write_state(producer: Producer, line: Settings, state: JobState) -> None:
    send_event(producer, line, JOBS, state.job, state)


def write_completion(producer: Producer, line: Settings, completion: Completion) -> None:
    send_event(producer, line, COMPLETIONS, completion.tenant, completion)


def write_end(producer: Producer, line: Settings, job: str) -> None:
    """What the coordinator sends when a job ends."""
    state = completed(job)
    write_state(producer, line, state)
    write_completion(producer, line, completion_of(state))


def completed(job: str) -> JobState:
    return ended_state(job, JobStatus.COMPLETED, time.time())


def records(line: Settings, topic: Topic) -> list[Message]:
    with Reader(line) as reader:
        reader.assign(reader.from_start(topic))
        return list(reader.read_to_end())


# -- submit ----------------------------------------------------------------------------------------------------


def test_a_prompt_becomes_a_record_that_names_the_job(line: Settings) -> None:
    keyed = PromptSubmitted(prompt="a red circle", tenant="acme", idempotency_key="order-7", seed=5)
    plain = PromptSubmitted(prompt="a blue square")
    first, second = submit(line, [keyed, plain])
    assert (first.job, second.job) == (job_id("acme", "order-7"), identity_of(plain, "latentline", second.id).job)
    assert submit(line, [keyed])[0].job == first.job
    read = records(line, PROMPTS)
    assert [(message.key(), event_of(message)) for message in read] == [
        (b"acme", keyed), (b"default", plain), (b"acme", keyed),
    ]  # fmt: skip
    headers = dict(cast(list[tuple[str, bytes]], read[0].headers()))
    assert headers["ce_id"].decode() == first.id
    assert headers["ce_type"] == b"latentline.prompt_submitted.v1"


def test_a_cancel_goes_the_same_way(line: Settings) -> None:
    cancel(line, JOB, "acme", "no longer needed")
    (message,) = records(line, PROMPTS)
    assert message.key() == b"acme"
    assert event_of(message) == CancelRequested(job=JOB, tenant="acme", reason="no longer needed")


def test_a_prompt_larger_than_a_record_may_be_is_refused_by_name(line: Settings) -> None:
    too_large = random.Random(1).randbytes(PROMPTS.max_message_bytes).hex()  # it must not compress well
    with pytest.raises(ClientError, match=r"cannot be sent|not acknowledged.*too large"):
        submit(line, [PromptSubmitted(prompt=too_large * 2)])


def test_without_a_broker_every_call_says_so_within_seconds(line: Settings) -> None:
    nowhere = line.model_copy(update={"kafka_bootstrap": "127.0.0.1:9"})
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9 does not answer.*latentline doctor"):
        send(nowhere, [PromptSubmitted(prompt="a red circle")], seconds=1.0)


def test_without_topics_the_reader_says_what_to_do(line: Settings) -> None:
    with pytest.raises(TopicMissing, match="latentline topics apply"):
        snapshot(line.model_copy(update={"topic_prefix": "nothing-here."}))


# -- snapshot --------------------------------------------------------------------------------------------------


def test_a_snapshot_is_the_last_committed_state_of_each_job(line: Settings) -> None:
    with transaction(line) as producer:
        write_state(producer, line, waiting("video_2", 1).model_copy(update={"accepted_at": 2.0}))
        write_state(producer, line, waiting("video_1", 1).model_copy(update={"accepted_at": 3.0}))
        write_state(producer, line, waiting("video_gone", 1))
        producer.produce(JOBS.named(line.topic_prefix), b"no event of ours", "video_odd")
    with transaction(line, commit=False) as producer:
        write_end(producer, line, "video_1")
        write_state(producer, line, waiting("video_never", 1))
    with transaction(line) as producer:
        write_state(producer, line, waiting("video_2", 2, stage=Stage.DENOISE).model_copy(update={"accepted_at": 2.0}))
        producer.produce(JOBS.named(line.topic_prefix), None, "video_gone")
    jobs = snapshot(line)
    assert [(job, state.version, state.status) for job, state in jobs.items()] == [
        ("video_2", 2, JobStatus.WAITING), ("video_1", 1, JobStatus.WAITING),
    ]  # fmt: skip


def test_the_end_is_met_though_there_is_always_something_new(line: Settings) -> None:
    """Kafka says that a partition ends there only when a fetch comes back empty: under such a trickle none does."""
    producer, stop = clients.producer(clients.PRODUCER, line), Event()
    step = StepProgress(job=JOB, tenant="acme", stage=Stage.DENOISE, lease=1, step=1, steps=2)

    def trickle() -> None:
        while not stop.wait(0.01):
            send_event(producer, line, PROGRESS, JOB, step)
            producer.flush(10)

    writing = Thread(target=trickle)
    writing.start()
    try:
        with Reader(line) as reader:
            eventually(lambda: any(reader.ends(PROGRESS).values()))
            reader.assign(reader.from_start(PROGRESS))
            assert eventually(lambda: [reader.read(0.1), reader.at_end][1], 10)
    finally:
        stop.set()
        writing.join()


def test_an_empty_line_has_no_jobs(line: Settings) -> None:
    assert snapshot(line) == {}


# -- follow ----------------------------------------------------------------------------------------------------


def test_a_job_is_followed_from_before_its_prompt_to_its_end(line: Settings) -> None:
    with Follower(line) as follower:
        with transaction(line) as producer:
            write_state(producer, line, waiting(OTHER, 1))
            write_state(producer, line, waiting(JOB, 1))
        step = StepProgress(job=JOB, tenant="acme", stage=Stage.DENOISE, lease=1, step=3, steps=12)
        unreferenced = clients.producer(clients.PRODUCER, line)
        send_event(unreferenced, line, PROGRESS, JOB, step)
        unreferenced.flush(10)
        with transaction(line, commit=False) as producer:
            write_end(producer, line, JOB)
        with transaction(line) as producer:
            write_end(producer, line, JOB)
        updates = list(follower.updates([JOB], patience=30))
    assert {update.job for update in updates} == {JOB}
    assert Stepped(step) in updates
    assert next(update.state.status for update in updates if isinstance(update, Changed)) is JobStatus.WAITING
    (end,) = [update for update in updates if isinstance(update, Ended)]
    assert (end, updates[-1]) == (Ended(JOB, JobStatus.COMPLETED, end.completion), end)
    assert end.completion is not None


def test_an_end_in_a_transaction_that_was_open_at_the_snapshot_is_not_missed(line: Settings) -> None:
    with transaction(line) as producer:
        write_state(producer, line, waiting(JOB, 1))
    with transaction(line) as producer:
        write_end(producer, line, JOB)
        producer.flush(10)
        follower = Follower(line)
    with follower:
        assert follower.jobs[JOB].status is JobStatus.WAITING
        ends = [update for update in follower.updates([JOB], patience=30) if isinstance(update, Ended)]
    assert [(end.job, end.completion is not None) for end in ends] == [(JOB, True)]


def test_an_end_that_is_on_completions_before_it_is_on_jobs_is_not_missed(line: Settings) -> None:
    """Markers of one transaction reach its partitions one after the other."""
    with transaction(line) as producer:
        write_state(producer, line, waiting(JOB, 1))
    with transaction(line) as producer:
        write_completion(producer, line, completion_of(completed(JOB)))
    with Follower(line) as follower:
        with transaction(line) as producer:
            write_state(producer, line, completed(JOB))
        ends = [update for update in follower.updates([JOB], patience=30) if isinstance(update, Ended)]
    assert [(end.status, end.completion is not None) for end in ends] == [(JobStatus.COMPLETED, True)]


def test_a_job_that_had_ended_long_ago_ends_once_too(line: Settings) -> None:
    with transaction(line) as producer:
        write_state(producer, line, ended_state(JOB, JobStatus.FAILED, time.time()))
    with Follower(line) as follower:
        updates = list(follower.updates([JOB], patience=30))
    assert [type(update) for update in updates] == [Changed, Ended]
    assert updates[-1] == Ended(JOB, JobStatus.FAILED)


def test_two_completions_of_one_job_are_one_end(line: Settings) -> None:
    with Follower(line) as follower:
        with transaction(line) as producer:
            write_end(producer, line, JOB)
            write_end(producer, line, JOB)
        with transaction(line) as producer:
            write_end(producer, line, OTHER)
        ends = [update.job for update in follower.updates([JOB, OTHER], patience=30) if isinstance(update, Ended)]
    assert sorted(ends) == [JOB, OTHER]


def test_the_whole_line_is_followed_without_what_had_ended(line: Settings) -> None:
    with transaction(line) as producer:
        write_end(producer, line, OTHER)
        write_state(producer, line, waiting(JOB, 1))
    with Follower(line) as follower:
        updates = follower.updates(patience=30)
        assert next(updates) == Changed(follower.jobs[JOB])
        with transaction(line) as producer:
            write_end(producer, line, JOB)
        ended = next(update for update in updates if isinstance(update, Ended))
    assert ended.job == JOB


def test_patience_ends(line: Settings) -> None:
    with Follower(line) as follower, pytest.raises(UnknownJobs, match=f"no job {JOB}.*0.3 s"):
        list(follower.updates([JOB], known_within=0.3))
    with Follower(line) as follower, pytest.raises(NothingHappened, match=r"1 job.*0\.3 s"):
        list(follower.updates([JOB], patience=0.3))
