"""A cell that works for long: logs that let go of what is old, and many more jobs than are held in memory."""

from __future__ import annotations

import pytest

from schemas.events.reports import Tick
from streams.coordinator.core.dispatch import Record
from streams.kafka.topics import REPORTS
from tests.sim import million
from tests.sim.logs import Logs


def test_three_thousand_jobs_on_a_hundred_workers_keep_every_promise() -> None:
    figures = million.run(seed=2, workers=100, jobs=3_000)
    assert sum(figures["ends"].values()) == 3_000  # type: ignore[attr-defined]


@pytest.mark.long
def test_twenty_thousand_jobs_on_a_hundred_workers_keep_every_promise() -> None:
    figures = million.run(seed=1, workers=100, jobs=20_000)
    assert sum(figures["ends"].values()) == 20_000  # type: ignore[attr-defined]


def test_the_same_seed_gives_the_same_ends_also_where_logs_let_go() -> None:
    first, second = (million.full_world(3, workers=20, jobs=200).run() for _ in range(2))
    assert first.checker.ends() == second.checker.ends()
    assert first.checker.commits == second.checker.commits
    assert first.logs.latest_states() == second.logs.latest_states()


def test_what_is_read_as_it_was_said_leads_to_what_its_bytes_lead_to() -> None:
    said, through_bytes = (million.full_world(5, workers=20, jobs=300, bytes_every=each).run() for each in (10, 1))
    assert said.checker.commits == through_bytes.checker.commits
    assert said.logs.latest_states() == through_bytes.logs.latest_states()


@pytest.mark.parametrize(("bytes_every", "encoded"), [(1, 20), (10, 3)])
def test_one_record_in_so_many_goes_through_its_bytes_and_so_does_poison(bytes_every: int, encoded: int) -> None:
    logs = Logs(bytes_every=bytes_every)
    for number in range(20):
        event = Tick(cell=0, coordinator="c", number=number)
        logs.append(REPORTS.name, event, str(number), now=1.0, poison=number == 5)
    assert sum(isinstance(record, Record) for record in logs.records[REPORTS.name]) == encoded


def test_what_nobody_will_read_again_is_let_go() -> None:
    world = million.full_world(4, workers=20, jobs=600).run()
    assert len(world.checker.past) > 400
    assert world.logs.records["reports"].start > 0.8 * len(world.logs.records["reports"])
    assert world.logs.jobs.start > 0.8 * len(world.logs.jobs)
