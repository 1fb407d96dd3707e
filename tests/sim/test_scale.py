"""A cell that works for long: logs that let go of what is old, and many more jobs than are held in memory."""

from __future__ import annotations

import pytest

from tests.sim import million


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


def test_what_nobody_will_read_again_is_let_go() -> None:
    world = million.full_world(4, workers=20, jobs=600).run()
    assert len(world.checker.past) > 400
    assert world.logs.records["reports"].start > 0.8 * len(world.logs.records["reports"])
    assert world.logs.jobs.start > 0.8 * len(world.logs.jobs)
