"""When the store is searched for what a deleted job has left: at once, and again when a lost worker can have come."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas import store_layout
from schemas.job import JobState, JobStatus
from schemas.stage import Stage

REMEMBERED_S = 24 * 3600.0
"""A janitor that begins looks once more for what was deleted so long ago; its first gc finds what is older."""


class Search(NamedTuple):
    """`at`: unix seconds. `folders`: where its outputs lay, its video first. `is_again`: the second one."""

    at: float
    job: str
    tenant: str
    folders: tuple[str, ...]
    is_again: bool


@dataclass
class Searches:
    """`again_after`: seconds between a deletion and the second look."""

    again_after: float
    _due: list[Search] = field(default_factory=list)

    def see(self, state: JobState, now: float) -> None:
        """The next state of a job. One that is read twice costs two looks more, and nothing else."""
        if state.status is not JobStatus.DELETED:
            return
        at = state.deleted_at or state.updated_at
        if at > now - REMEMBERED_S:
            folders = folders_of(state)
            self.put([
                Search(at, state.job, state.tenant, folders, False),
                Search(at + self.again_after, state.job, state.tenant, folders, True),
            ])  # fmt: skip

    def put(self, searches: Iterable[Search]) -> None:
        for search in searches:
            heapq.heappush(self._due, search)

    def take(self, now: float, most: int) -> list[Search]:
        """Those whose time has come, the earliest first. What cannot be done is `put` again."""
        return list(self._taken(now, most))

    def _taken(self, now: float, most: int) -> Iterator[Search]:
        while self._due and self._due[0].at <= now and most > 0:
            most -= 1
            yield heapq.heappop(self._due)

    def waiting_s(self, now: float) -> float:
        """For how many seconds the first of those that are due has waited."""
        return max(now - self._due[0].at, 0.0) if self._due else 0.0

    def __len__(self) -> int:
        return len(self._due)


def folders_of(state: JobState) -> tuple[str, ...]:
    keys = {stage: record.key for stage, record in state.stages.items() if stage is not Stage.MUX}
    outputs = [store_layout.folder(state.tenant, stage, key, state.job) for stage, key in keys.items()]
    return (store_layout.folder(state.tenant, Stage.MUX, "", state.job), *outputs)
