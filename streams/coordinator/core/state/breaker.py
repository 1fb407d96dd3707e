"""What a stage's breaker remembers, and how an ended lease changes it. When to use it: `core.stage_breaker`."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import dropwhile
from typing import NamedTuple

from schemas.errors import ErrorKind, Retry
from schemas.job import JobState
from schemas.stage import Stage
from streams.coordinator.core.state.tombstone import JobRecord

KEPT, KEPT_TICKS = 20, 60
"""The latest ended leases that are looked at, and for how long."""
LEAST_FAILURES, LEAST_JOBS = 5, 3
"""Fewer say more about a job than about the stage."""
BLAMED_TICKS = 600
"""How long a tenant whose tasks alone have failed cannot open the breaker again."""
PROBING = Retry(attempts=1, first_delay=1.0, longest_delay=10.0)

BLAMELESS = (ErrorKind.TRANSIENT, ErrorKind.INFRASTRUCTURE, ErrorKind.RESOURCE, ErrorKind.BUG, ErrorKind.UNKNOWN)
"""Kinds of error for which the job need not be at fault."""


class Ended(NamedTuple):
    job: str
    failed: bool
    tick: int
    tenant: str = ""


class Breaker(NamedTuple):
    """`probes`: the leases that decide; the next one of a tenant that was tried not before `probe_tick`."""

    recent: tuple[Ended, ...] = ()
    is_open: bool = False
    probes: frozenset[int] = frozenset()
    probe_tick: int = 0
    failed_probes: int = 0
    failures: int = 0
    """Of the recent leases."""
    tried: Mapping[str, int] = {}
    """While it is open: by tenant, how often one of its tasks was a probe, or had failed before."""
    accused: frozenset[tuple[str, str]] = frozenset()
    """While it is open: the jobs that have failed, each with its tenant."""
    blamed: Mapping[str, int] = {}
    """Jobs and tenants whose failures are their own, until a tick."""
    looked_tick: int = -1
    """When the queue was last looked through for probes."""

    def is_sound(self, tick: int) -> bool:
        """Whether all that is kept went well, in this very tick: one more success would tell nothing new."""
        return not self.failures and len(self.recent) == KEPT and self.recent[0].tick == tick

    def after(self, ended: Ended) -> Breaker:
        """The breaker after one more lease has ended. Only a failure opens it, only a success closes it."""
        oldest = ended.tick - KEPT_TICKS
        recent = self.recent
        if recent and recent[0].tick < oldest:
            recent = tuple(dropwhile(lambda past: past.tick < oldest, recent))
        recent = (*recent[1 - KEPT :], ended)
        failures = sum([past.failed for past in recent]) if self.failures or ended.failed else 0
        if self.is_open and (ended.failed or is_failing(recent)):
            accused = self.accused | {(ended.job, ended.tenant)} if ended.failed else self.accused
            return self._replace(recent=recent, failures=failures, accused=accused)
        if self.is_open:
            return Breaker(recent, failures=failures, blamed=self.blame(ended))
        if not ended.failed or not is_failing(recent):
            return Breaker(recent, failures=failures, blamed=self.blamed)
        accused = frozenset((past.job, past.tenant) for past in recent if past.failed)
        return Breaker(
            recent, True, probe_tick=ended.tick + 1, failures=failures, blamed=self.blamed,
            accused=accused, tried=dict.fromkeys([tenant for _, tenant in accused], 1),
        )  # fmt: skip

    def after_failed_probe(self, lease: int, tick: int) -> Breaker:
        failures = self.failed_probes + 1
        wait = round(PROBING.delay(failures))
        return self._replace(probes=self.probes - {lease}, probe_tick=tick + wait, failed_probes=failures)

    def blame(self, success: Ended) -> Mapping[str, int]:
        """The stage works: what has failed did so by its own doing, a tenant's all unless something has succeeded."""
        sound = {success.tenant, *[past.tenant for past in self.recent if not past.failed]}
        names = {job for job, _ in self.accused} | ({tenant for _, tenant in self.accused} - sound)
        return {**self.blamed, **dict.fromkeys(names - {success.job}, success.tick + BLAMED_TICKS)}

    def is_blamed(self, ended: Ended) -> bool:
        return any(self.blamed.get(name, 0) > ended.tick for name in (ended.job, ended.tenant))

    def acquitted(self, success: Ended) -> Breaker:
        """One that is blamed has succeeded. What has run out goes too."""
        if not self.blamed:
            return self
        left = {name: tick for name, tick in self.blamed.items() if tick > success.tick}
        return self._replace(blamed={name: left[name] for name in left.keys() - {success.job, success.tenant}})


def is_failing(recent: tuple[Ended, ...]) -> bool:
    """Whether most have failed, and enough of them, of enough jobs."""
    jobs = [past.job for past in recent if past.failed]
    return 2 * len(jobs) > len(recent) and len(jobs) >= LEAST_FAILURES and len({*jobs}) >= LEAST_JOBS


class RecentlyEnded:
    """Ended jobs with the leases that `rebuilt` looks at, as replay comes across them: those of `KEPT_TICKS`.

    Nothing older is kept: a standby follows the changelog for weeks.
    """

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, JobState | JobRecord] = OrderedDict()
        self._newest = 0.0

    def __iter__(self) -> Iterator[JobState | JobRecord]:
        return iter(self._jobs.values())

    def record(self, job: JobState | JobRecord) -> None:
        self._jobs[job.job] = job
        self._newest = max(self._newest, job.updated_at)
        while self._jobs and next(iter(self._jobs.values())).updated_at < self._newest - KEPT_TICKS:
            self._jobs.popitem(last=False)

    def discard(self, job: str) -> None:
        self._jobs.pop(job, None)


def rebuilt(states: Iterable[JobState | JobRecord]) -> dict[Stage, Breaker]:
    """What the latest ended leases of all jobs say. `KEPT_TICKS` before the newest change of any job is long ago."""
    states = list(states)
    newest = max((state.updated_at for state in states), default=0.0)
    ended: defaultdict[Stage, list[tuple[float, Ended]]] = defaultdict(list)
    for state in states:
        if state.updated_at < newest - KEPT_TICKS:
            continue
        for past in state.attempts:
            blameless = past.outcome == "failed" and past.error is not None and past.error.kind in BLAMELESS
            if past.ended_at >= newest - KEPT_TICKS and (past.outcome == "done" or blameless):
                ended[past.stage].append((past.ended_at, Ended(state.job, blameless, 0, state.tenant)))
    return {stage: of_history(found) for stage, found in ended.items()}


def of_history(dated: list[tuple[float, Ended]]) -> Breaker:
    breaker = Breaker()
    for _, ended in sorted(dated, key=lambda one: one[0]):
        breaker = breaker.after(ended)
    return breaker
