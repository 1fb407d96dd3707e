"""One worker that serves all four stages: an inbox a stage, one child, its slots shared."""

from __future__ import annotations

import pytest

from runtime.settings import Settings
from schemas.events.completions import JobCompleted
from schemas.events.reports import Heartbeat
from schemas.stage import STAGES
from streams.kafka.topics import COMPLETIONS, REPORTS
from tests.processes import QUICK, Upstream, services, tail
from tests.support import eventually

pytestmark = pytest.mark.broker


def test_it_makes_whole_videos(line: Settings) -> None:
    settings = line.model_copy(update=QUICK | {"threads": 1})
    with (
        services(settings, coordinator="coordinator", all="worker encode,denoise,decode,mux"),
        tail(settings, COMPLETIONS) as completions,
        tail(settings, REPORTS) as reports,
    ):
        upstream = Upstream(settings)
        jobs = {upstream.submit(seed=seed) for seed in range(3)}
        eventually(lambda: len(completions.events()) == len(jobs), 90)
        ends = [event for event in completions.events() if isinstance(event, JobCompleted)]
        assert {end.job for end in ends} == jobs
        assert {stage.worker for end in ends for stage in end.stages} == {"all"}
        beats = [event for event in reports.events() if isinstance(event, Heartbeat)]
        assert {inbox.stage for beat in beats for inbox in beat.inboxes} == set(STAGES)
