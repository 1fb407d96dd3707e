"""A job that many follow is looked at once for each news."""

from __future__ import annotations

import asyncio
from typing import cast

from gateway.read_model.eta import EtaEstimator
from gateway.read_model.read_model import ReadModel
from gateway.read_model.rows import Row
from gateway.read_model.snapshot_cache import Snapshot, SnapshotCache
from gateway.video import video_of
from schemas.video import Video
from tests.unit.gateway.samples import job


def test_many_followers_are_one_look_and_none_sees_what_is_older_than_its_news() -> None:
    looked: list[tuple[str, str]] = []
    sights = [cast(Snapshot, object()) for _ in range(5)]

    async def check() -> None:
        answered = asyncio.Event()

        async def look(tenant: str, job: str) -> Snapshot | None:
            looked.append((tenant, job))
            sight = sights[len(looked) - 1]
            await answered.wait()
            return sight

        looks = SnapshotCache(look)
        first = [asyncio.create_task(looks.at("t", "a", 1)) for _ in range(100)]
        others = [asyncio.create_task(looks.at(*place)) for place in (("t", "a", 2), ("t", "b", 1), ("u", "a", 1))]
        await asyncio.sleep(0)
        first[0].cancel()
        await asyncio.sleep(0)
        answered.set()
        assert await asyncio.gather(*first[1:]) == sights[:1] * 99
        assert await asyncio.gather(*others) == sights[1:4]
        assert await looks.at("t", "a", 2) == sights[4]

    asyncio.run(check())
    assert looked == [("t", "a"), ("t", "a"), ("t", "b"), ("u", "a"), ("t", "a")]


def test_what_is_written_out_is_the_video() -> None:
    model, state = ReadModel("sqlite://"), job()
    video = video_of(Row(state, 1), model, EtaEstimator())
    assert Video.model_validate_json(Snapshot(Row(state, 1), video).json) == video
    model.close()
