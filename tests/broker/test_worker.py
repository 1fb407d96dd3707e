"""A real stage worker process on the real broker, and the test in the coordinator's place. Mux: it needs no torch."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import uuid
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from confluent_kafka import Producer, TopicPartition

from runtime.settings import Settings
from schemas import envelope
from schemas.events.reports import Failed, Heartbeat, InputMissing, Outcome, Started
from schemas.events.tasks import CancelTask, Drain, Task
from schemas.stage import Stage
from streams.kafka import clients
from streams.kafka.addressing import extensions_of
from streams.kafka.topics import REPORTS, TASKS_MUX
from streams.worker.loop.inbox import InboxBroken, Inboxes
from tests.processes import Service, Tail, tail
from tests.support import eventually
from tests.unit.streams.usage.test_reducers import RECIPE

pytestmark = pytest.mark.broker


class Played:
    """The coordinator's side: hears a worker, and writes into its inbox."""

    def __init__(self, settings: Settings, reports: Tail) -> None:
        self.settings, self.reports = settings, reports
        self.service = Service(settings, "mux", "worker", "mux").start()
        self._producer: Producer = clients.producer(clients.PRODUCER, settings)

    def beats(self) -> list[Heartbeat]:
        return [event for event in self.reports.events() if isinstance(event, Heartbeat)]

    def outcomes(self, kind: type[Outcome] = Outcome) -> list[Outcome]:
        return [event for event in self.reports.events() if isinstance(event, kind)]

    def announced(self) -> Heartbeat:
        return eventually(self.beats, 60)[-1]

    def ready(self) -> Heartbeat:
        return eventually(lambda: [beat for beat in self.beats() if beat.slots > 0], 60)[-1]

    def send(self, event: Task | CancelTask | Drain, beat: Heartbeat, value: bytes | None = None) -> None:
        data, headers = envelope.write(
            event, id=uuid.uuid4().hex, source="test", time=1.8e9, extensions=extensions_of(event)
        )
        topic = TASKS_MUX.named(self.settings.topic_prefix)
        self._producer.produce(topic, value or data, event.incarnation, beat.inboxes[0].partition, headers=[*headers])
        assert self._producer.flush(30) == 0

    def task(self, lease: int, incarnation: str) -> Task:
        return Task(
            incarnation=incarnation, lease=lease, job="video_1", tenant="acme", stage=Stage.MUX, key="key",
            recipe=RECIPE, attempt=1,
        )  # fmt: skip


@pytest.fixture
def played(quick: Settings) -> Iterator[Played]:
    with tail(quick, REPORTS) as reports:
        played = Played(quick, reports)
        yield played
        if played.service.popen is not None and played.service.popen.poll() is None:
            played.service.kill()


def test_a_task_sent_right_after_the_first_announcement_is_read(played: Played) -> None:
    beat = played.announced()
    played.send(played.task(1, beat.incarnation), beat)
    [started] = eventually(lambda: played.outcomes(Started))
    assert started.lease == 1
    # It names no upstream output: that is the coordinator's bug, and is said to be one.
    [failed] = eventually(lambda: played.outcomes(Failed), 60)
    assert isinstance(failed, Failed)
    assert failed.error.code == "internal_error"
    assert failed.log_tail
    eventually(lambda: (last := played.beats()[-1]).leases == () and last.inboxes[0].echo == 1)


def test_tasks_of_others_move_the_echo_and_nothing_else(played: Played) -> None:
    beat = played.announced()
    played.send(played.task(5, "somebody else"), beat)
    eventually(lambda: played.beats()[-1].inboxes[0].echo == 5)
    assert played.outcomes() == []


def test_a_task_that_it_cannot_decode_is_reported_failed(played: Played) -> None:
    beat = played.announced()
    played.send(played.task(2, beat.incarnation), beat, value=b'{"of":"a newer release"}')
    [failed] = eventually(lambda: played.outcomes(Failed))
    assert isinstance(failed, Failed)
    assert (failed.lease, failed.error.code) == (2, "unreadable_task")


def test_an_input_that_is_gone_is_reported_lost(played: Played) -> None:
    beat = played.ready()
    from schemas.events.artifacts import ArtifactRef

    upstream = ArtifactRef(
        stage=Stage.DECODE, key="k", manifest_key="artifacts/acme/decode/k/manifest.json", etag="gone"
    )
    played.send(played.task(3, beat.incarnation).model_copy(update={"upstream": upstream}), beat)
    [lost] = eventually(lambda: played.outcomes(InputMissing))
    assert isinstance(lost, InputMissing)
    assert (lost.upstream_stage, lost.upstream_key, lost.etag) == (Stage.DECODE, "k", "gone")


def test_told_to_end_it_says_that_it_leaves_and_ends_with_zero(played: Played) -> None:
    played.ready()
    played.service.send_signal(signal.SIGTERM)
    assert played.service.wait() == 0
    [last] = eventually(lambda: [beat for beat in played.beats() if beat.leaving])
    assert last.draining
    assert last.leases == ()


def test_superseded_it_leaves(played: Played) -> None:
    beat = played.ready()
    played.send(Drain(incarnation=beat.incarnation, reason="a newer life of this worker runs", at_once=True), beat)
    assert played.service.wait() == 0


class Ahead(Inboxes):
    """Assigned beyond the end: what a topic that was made anew looks like to its old reader."""

    def _end_of(self, topic: str, partition: int) -> TopicPartition:
        end = super()._end_of(topic, partition)
        return TopicPartition(topic, partition, end.offset + 100)


def test_an_inbox_out_of_range_ends_this_life_and_is_not_reset(line: Settings) -> None:
    events: queue.SimpleQueue[object] = queue.SimpleQueue()
    inboxes = Ahead(line, (Stage.MUX,), "incarnation", clients.ErrorWatch(), events.put)
    try:
        assert isinstance(events.get(timeout=60), InboxBroken)
    finally:
        inboxes.close()


def conditions(played: Played) -> list[tuple[str, bool]]:
    """What heartbeats have said so far: the condition, and whether there were slots."""
    return [(beat.condition, beat.slots > 0) for beat in played.beats()]


def test_on_a_full_disk_it_offers_no_slots_until_there_is_room(quick: Settings) -> None:
    """A file that takes what is free below the limit, and half as much again; other writers move less than that."""
    quick.data_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(quick.data_dir).free
    size = min(free // 4, 2 * 1024**3)
    settings = quick.model_copy(update={"least_free_bytes": free - size // 2})
    filler = quick.data_dir / "filler"
    with tail(settings, REPORTS) as reports:
        played = Played(settings, reports)
        try:
            played.ready()
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
            eventually(lambda: conditions(played)[-1] == ("disk_full", False), 60)
            assert 'latentline_worker_state{state="disk_full"} 1.0' in scraped(played)
            filler.unlink()
            eventually(lambda: conditions(played)[-1] == ("ready", True), 60)
        finally:
            filler.unlink(missing_ok=True)
            played.service.kill()


def scraped(played: Played) -> str:
    with urlopen(played.service.url("/metrics"), timeout=5) as answer:
        return str(answer.read().decode())


def test_without_the_store_it_offers_no_slots(quick: Settings) -> None:
    settings = quick.model_copy(update={"store_endpoint": "127.0.0.1:9"})
    with tail(settings, REPORTS) as reports:
        played = Played(settings, reports)
        try:
            unready = eventually(lambda: [b for b in played.beats() if b.condition == "store_unreachable"], 60)
            assert unready[-1].slots == 0
            assert not played.service.is_ready
        finally:
            played.service.kill()
