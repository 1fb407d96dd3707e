"""What the gateway does once the broker has a prompt: it is noted before anybody is told, and all at once where many
arrive at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from gateway.intake import Intake
from runtime.settings import Settings
from schemas.events.prompts import PromptSubmitted
from schemas.job import JobState
from streams.kafka.topics import PROMPTS
from tests.processes import tail
from tests.support import eventually
from tests.unit.gateway.samples import job

pytestmark = pytest.mark.broker

MANY = 50
Note = Callable[[list[JobState]], list[int]]


@pytest.fixture
def opened(line: Settings) -> Iterator[Callable[[Note], Intake]]:
    doors: list[Intake] = []

    def opened(note: Note) -> Intake:
        doors.append(Intake(line, note))
        return doors[-1]

    yield opened
    for door in doors:
        door.close()


async def asked(door: Intake, number: int) -> tuple[str, int]:
    prompt = PromptSubmitted(prompt="a red circle", idempotency_key=str(number))
    state, ahead = await door.create(prompt, None, lambda: job(number))
    return state.job, ahead


def test_what_arrives_at_once_is_noted_at_once_and_each_hears_of_its_own(opened: Callable[[Note], Intake]) -> None:
    groups: list[list[JobState]] = []

    def note(states: list[JobState]) -> list[int]:
        groups.append(states)
        return [int(state.accepted_at - job().accepted_at) for state in states]

    async def many() -> list[tuple[str, int]]:
        door = opened(note)
        return await asyncio.gather(*(asked(door, number) for number in range(MANY)))

    assert asyncio.run(many()) == [(job(number).job, number) for number in range(MANY)]
    noted = [state.job for group in groups for state in group]
    assert sorted(noted) == sorted(job(number).job for number in range(MANY))
    assert len(groups) < MANY / 2


def test_who_could_not_be_noted_is_told_so_and_the_next_one_is_served(
    opened: Callable[[Note], Intake], line: Settings
) -> None:
    def note(states: list[JobState]) -> list[int]:
        if job(1).job in [state.job for state in states]:
            raise OSError("the database does not answer")
        return [0 for _ in states]

    async def three() -> None:
        door = opened(note)
        for number in (0, 1, 2):
            if number == 1:
                with pytest.raises(OSError, match="does not answer"):
                    await asked(door, number)
            else:
                assert await asked(door, number) == (job(number).job, 0)

    asyncio.run(three())
    with tail(line, PROMPTS) as prompts:
        eventually(lambda: len(prompts.events()) == 3)
