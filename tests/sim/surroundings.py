"""What a simulated worker meets: time, logs, the store, and what is planned for its tasks."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from schemas.errors import ErrorReport
from schemas.events.reports import Heartbeat, Outcome
from schemas.events.tasks import Task
from tests.sim.logs import Logs
from tests.sim.loop import Loop
from tests.sim.scenario import JobPlan
from tests.sim.store import Store

if TYPE_CHECKING:
    from tests.sim.machine import Machine


class Surroundings(Protocol):
    loop: Loop
    logs: Logs
    store: Store
    chance: random.Random
    inbox_partitions: int
    spools: defaultdict[str, dict[int, Task]]
    """By worker name: the finished tasks on its disk, by lease."""
    beat_seconds: float

    def latency(self) -> float: ...

    def plan_of(self, job: str) -> JobPlan: ...

    def takes_failure(self, task: Task) -> ErrorReport | None:
        """The error in which this run of the task ends, if it is one that fails."""

    def report(self, event: Outcome | Heartbeat) -> None: ...

    def killed_by(self, task: Task, machine: Machine) -> None: ...

    def computed(self, task: Task, seconds: float) -> None: ...
