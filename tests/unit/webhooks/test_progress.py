"""`video.progress` without a broker: which tens are told, in what words, and who is in nobody's way."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from schemas.events.progress import StepProgress
from schemas.job import JobState, JobStatus, Lease
from schemas.stage import Stage
from schemas.webhooks import COMPLETED, PROGRESS, STARTED, WebhookDelivery
from tests.contract.examples import JOB, NOW, STATE
from tests.unit.webhooks.samples import ENDPOINT, changed, knowing
from webhooks.delivery import progress_queue, state
from webhooks.delivery.payload import SEQUENCE, JobEvent
from webhooks.delivery.progress_queue import ProgressQueue
from webhooks.delivery.progress_source import Running
from webhooks.delivery.queue import DeliveryScheduler

CURIOUS = changed(ENDPOINT, event_types=(COMPLETED, PROGRESS))


def begun(lease: int = 7) -> JobState:
    held = Lease(number=lease, incarnation="i", worker="w", stage=Stage.DENOISE, partition=0, dispatched_at=NOW)
    return STATE.model_copy(update={"status": JobStatus.RUNNING, "lease": held})


ENDED = begun().model_copy(update={"status": JobStatus.COMPLETED, "lease": None})


def told(running: Running, *steps: int, lease: int = 7, of: int = 100) -> list[int | None]:
    reached = [
        running.reached(
            StepProgress(job=JOB, tenant="acme", stage=Stage.DENOISE, lease=lease, step=step, steps=of), NOW
        )
        for step in steps
    ]
    return [each.percent for each in reached if each]


def test_each_ten_of_percent_is_told_once_and_none_before_ten() -> None:
    running = Running()
    running.take(begun())
    assert told(running, *range(101)) == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert told(running, *range(101)) == []


def test_a_few_long_steps_are_a_few_words() -> None:
    running = Running()
    running.take(begun())
    assert told(running, 1, 2, 3, 4, of=4) == [20, 40, 60, 90]


def test_a_job_that_starts_over_is_told_of_again_once_it_is_farther() -> None:
    running = Running()
    running.take(begun())
    assert told(running, 50) == [40]
    running.take(begun().model_copy(update={"status": JobStatus.WAITING, "lease": None}))
    assert told(running, 90) == []
    running.take(begun(8))
    assert told(running, 90) == [], "the lease before"
    assert told(running, 10, 50, 60, lease=8) == [50]


@given(st.permutations(["state", "state of the end", "end"]))
def test_nothing_is_told_after_the_end_whichever_topic_tells_of_it_first(order: list[str]) -> None:
    running = Running()
    for each in order if order.index("state") < order.index("state of the end") else order[::-1]:
        if each == "end":
            running.end(JOB)
        else:
            running.take(begun() if each == "state" else ENDED)
    assert told(running, 30, 60) == []
    assert (running.states, running.told) == ({}, {})


def word_of(percent: int) -> JobEvent:
    return JobEvent(JOB, "acme", PROGRESS, NOW, percent=percent)


def test_what_is_told() -> None:
    known = knowing(CURIOUS, changed(ENDPOINT, id="we_" + "2" * 32))
    [word] = state.deliveries_of(known, word_of(30), NOW)
    body = json.loads(word.body)
    assert (word.endpoint, word.type, word.event) == (CURIOUS.id, PROGRESS, body["id"])
    assert body["data"] == {"id": JOB, "sequence": 30, "progress": 30}
    [later] = state.deliveries_of(known, word_of(40), NOW)
    assert later.id == word.id
    assert later.event != word.event
    assert SEQUENCE[STARTED] < word_of(10).sequence
    assert word_of(90).sequence < SEQUENCE[COMPLETED]


def word(number: int, endpoint: str = "e", tenant: str = "acme", job: str = "", body: str = "{}") -> WebhookDelivery:
    return WebhookDelivery(
        id=f"whd_{number:032x}", event="evt", type=PROGRESS, tenant=tenant, job=job or str(number), endpoint=endpoint,
        body=body, created_at=NOW, next_at=NOW,
    )  # fmt: skip


def taken(words: ProgressQueue) -> list[WebhookDelivery]:
    return [*words.take(lambda word: True)]


def test_a_word_that_waits_is_replaced_and_one_under_way_is_finished_first() -> None:
    words = ProgressQueue()
    words.put(word(1, body="10"))
    words.put(word(1, body="20"))
    assert [each.body for each in taken(words)] == ["20"]
    words.put(word(1, body="30"))
    words.put(word(1, body="40"))
    assert taken(words) == []
    assert words.done(word(1).id) is not None
    assert [each.body for each in taken(words)] == ["40"]


def test_what_waits_at_the_end_of_its_job_is_never_sent() -> None:
    words = ProgressQueue()
    words.put(word(1, job="a"))
    words.put(word(2, job="b"))
    words.drop("a")
    assert [each.job for each in taken(words)] == ["b"]


def test_slow_endpoints_and_tenants_leave_room_for_others() -> None:
    words = ProgressQueue()
    for number in range(20):
        words.put(word(number, endpoint="slow"))
    assert len(taken(words)) == progress_queue.AT_ONCE_TO_ONE
    for number in range(20, 40):
        words.put(word(number, endpoint=f"slow {number}"))
    assert len(taken(words)) == progress_queue.AT_ONCE_OF_ONE - progress_queue.AT_ONCE_TO_ONE
    words.put(word(99, "quick", "globex"))
    assert [each.tenant for each in taken(words)] == ["globex"]


def test_a_receiver_that_has_too_much_to_do_gets_no_words() -> None:
    words, due = ProgressQueue(), DeliveryScheduler()
    words.put(word(1))
    way = state.way_of(word(1))
    due.pause(way, NOW + 30)

    def sent(now: float) -> int:
        return len([*words.take(lambda each: not due.is_paused(state.way_of(each), now))])

    assert [sent(NOW + 29), sent(NOW + 31)] == [0, 1]
