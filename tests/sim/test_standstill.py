"""When jobs wait that should not, and what is no standstill though nothing is dispatched."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from schemas.events.prompts import PromptSubmitted
from schemas.events.reports import Started
from schemas.stage import Stage
from streams.coordinator.core.effects import DeadLetter
from streams.coordinator.core.placement import place
from streams.coordinator.core.standstill import AFTER_S, Standstill
from streams.coordinator.service.observe import LATELY_S, Observer
from tests.sim.played_line import PROMPT, Line, names
from tests.sim.test_breaker import broken

LONG = AFTER_S + 1


class Watched:
    """A line that is looked at once a second for longer than anything mends itself."""

    def __init__(self, line: Line) -> None:
        self.line, self.standstill, self.now = line, Standstill(), 100.0

    def look(self, seconds: float = LONG) -> Watched:
        for _ in range(int(seconds) + 1):
            self.standstill.look(self.line.ledger, self.line.ledger.jobs.values, self.now, self.line.now)
            self.now += 1
        return self

    @property
    def idle(self) -> list[str]:
        return self.standstill.idle_words(self.now)

    @property
    def unserved(self) -> list[str]:
        return self.standstill.unserved_words(self.now)


def waiting_line() -> Line:
    """A job waits beside a free worker, as if placement had passed it over."""
    line = Line()
    line.submit()
    line.beat("a")
    return line


def test_a_job_beside_a_free_worker_is_a_standstill_and_a_dispatch_ends_it() -> None:
    watched = Watched(waiting_line())
    assert watched.look(AFTER_S - 2).idle == []
    [words] = watched.look(3).idle
    assert words.startswith("encode: jobs with model tiny wait, a worker that fits is free, and nothing was dispatched")
    assert watched.standstill.idle_seconds(Stage.ENCODE, watched.now) > AFTER_S
    assert watched.unserved == []
    place(watched.line.ledger, watched.line.now)
    watched.standstill.dispatched(Stage.ENCODE, watched.now)
    assert watched.look(1).idle == []


def test_a_job_that_every_queue_has_lost_shows_too() -> None:
    line = waiting_line()
    line.ledger.waiting = {stage: {} for stage in Stage}
    assert Watched(line).look().idle != []


def held(line: Line) -> None:
    line.ledger.hold(1000)


def without_room(line: Line) -> None:
    line.beat("a", slots=0)


def draining(line: Line) -> None:
    line.beat("a", draining=True)
    line.beat("b", slots=0)


def suspect(line: Line) -> None:
    """It has killed a worker, and waits for a node of its own."""
    line.report(Started(**names(line.task())))
    line.beat("a", life=2)


@pytest.mark.parametrize("change", [held, without_room, draining, suspect])
def test_what_holds_a_stage_back_on_purpose_is_no_standstill(change: Callable[[Line], None]) -> None:
    line = waiting_line()
    change(line)
    watched = Watched(line).look()
    assert (watched.idle, watched.unserved) == ([], [])


def test_an_open_breaker_is_no_standstill() -> None:
    watched = Watched(broken()).look()
    assert watched.idle == []


def test_a_model_that_no_worker_serves_is_told_by_stage_and_name() -> None:
    line = Line()
    line.submit()
    [words] = Watched(line).look().unserved
    assert words.startswith("encode: jobs have waited for")
    assert words.endswith("with model tiny, which no worker serves there")


def test_a_worker_that_is_busy_serves_its_model_and_one_that_leaves_does_not() -> None:
    line = Line()
    line.submit()
    line.beat("a", slots=0)
    assert Watched(line).look().unserved == []
    line.beat("a", draining=True)
    assert Watched(line).look().unserved != []


def test_a_job_that_was_cancelled_is_waited_for_by_nobody() -> None:
    line = Line()
    line.submit()
    line.ledger.jobs.changes.clear()
    line.ledger.jobs.base.clear()
    assert Watched(line).look().unserved == []


def test_jobs_of_other_ids_wait_behind_a_full_worker() -> None:
    line = waiting_line()
    line.submit(PromptSubmitted(prompt=PROMPT.prompt, idempotency_key="two"))
    line.task()
    assert Watched(line).look().idle == []


def test_dead_letters_of_reports_are_told_for_a_while_and_those_of_prompts_are_their_senders_own() -> None:
    observer = Observer()
    observer.committed([DeadLetter("not_json", "", b"", [], "prompts/0/7")], [])
    assert observer.warnings(time.monotonic()) == []
    observer.committed([DeadLetter("not_json", "", b"", [], "reports/0/7")] * 2, [])
    [words] = observer.warnings(time.monotonic())
    assert words.startswith("2 reports were dead-lettered in the last 10 minutes")
    assert observer.warnings(time.monotonic() + LATELY_S) == []
