"""The whole line, for real: a coordinator and four stage processes on real Kafka and real MinIO, with the shipped model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas.events import Completion, JobCompleted
from streams.settings import Settings
from streams.topics import COMPLETIONS
from tests.processes import QUICK, WHOLE_LINE, Service, Tail, Upstream, services, tail
from tests.support import eventually

pytestmark = pytest.mark.broker


@pytest.fixture
def quick(line: Settings) -> Settings:
    return line.model_copy(update=QUICK | {"threads": 1})


@pytest.fixture
def running(quick: Settings) -> Iterator[dict[str, Service]]:
    with services(quick, **WHOLE_LINE) as running:
        yield running


@pytest.fixture
def completions(quick: Settings) -> Iterator[Tail]:
    with tail(quick, COMPLETIONS) as completions:
        yield completions


def ends(completions: Tail, count: int, seconds: float = 60) -> list[Completion]:
    events = eventually(lambda: len(found := completions.events()) >= count and found, seconds)
    return [event for event in events if isinstance(event, Completion)]


def test_a_prompt_becomes_a_video(quick: Settings, running: dict[str, Service], completions: Tail) -> None:
    job = Upstream(quick).submit()
    [end] = ends(completions, 1)
    assert isinstance(end, JobCompleted)
    assert end.job == job
