"""The whole audit, in the order in which it stays true on a line that works on.

First the offsets of the prompts that have been answered for, then `jobs`: it holds every decision on them. Then
`completions` and `dlq`: they hold the end of every job that `jobs` said had ended. Then what `jobs` has gained, which
holds the end of every completion, and `videos`. The store comes last: what is referenced was put there before. What
was deleted while it was read is found in `jobs` and `videos`, read on once more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from confluent_kafka import Message

from operations import diagnosis
from operations.audit import objects, videos
from operations.audit.completions import check_completions
from operations.audit.jobs import JobsLog, check_state, compute_of
from operations.audit.log import Log
from operations.audit.objects import StoreListing
from operations.audit.prompts import Letters, Prompt, check_prompt
from operations.audit.report import Report, Violation
from operations.audit.store_listing import read_shelves
from operations.audit.videos import Videos
from runtime.settings import Settings
from schemas.events.completions import Completion
from schemas.job import JobState, JobStatus
from stages.storage.artifacts import ArtifactStore
from streams.kafka import clients
from streams.kafka.errors import ClientError
from streams.kafka.reader import event_of
from streams.kafka.topics import COMPLETIONS, DLQ, JOBS, PROMPTS, VIDEOS

DAY_S = 24 * 3600.0
GRACE_S = 2 * DAY_S
"""A day longer than gc, which the janitor runs each hour, leaves alone what nobody refers to."""

Say = Callable[[str], None]


@dataclass
class LogSnapshot:
    """What the log says."""

    jobs: JobsLog = field(default_factory=JobsLog)
    settled: frozenset[str] = frozenset()
    """Jobs that had ended before `ends` was read."""
    ends: dict[str, list[Completion]] = field(default_factory=dict)
    letters: Letters = field(default_factory=Letters)
    videos: Videos = field(default_factory=Videos)
    prompts: int = 0
    violations: list[Violation] = field(default_factory=list)


def audit(
    settings: Settings, store: ArtifactStore, digests: bool = True, grace: float = GRACE_S,
    say: Say = lambda what: None, ended_after: float = 0.0,
) -> Report:  # fmt: skip
    """Check every promise. `grace`: seconds that what nobody names may lie in the store.

    Of a completed job that ended before `ended_after` (unix seconds) the video must be there, and nothing else.

    Raises `ClientError` and `StoreUnavailable`.
    """
    now = time.time()
    with Log(settings) as log:
        told = read_log(log, say)
        say("reading the store" + (" and digesting every object" if digests else ""))
        listing = read_shelves(store, now, digests)
        states, deleted = [*told.jobs.latest.values()], deleted_since(log, told)
    kept = [state for state in states if state.job not in deleted]
    violations = {
        *told.violations, *told.jobs.violations, *check_completions(told.settled, told.jobs, told.ends, now),
        *check_states(kept, listing, ended_after), *objects.check_manifests(listing),
        *objects.check_orphans(listing, states, now - grace), *videos.check_gone(states, listing, now),
        *videos.check_catalogue(kept, told.videos, listing, deleted),
        *videos.check_owners(states, told.videos, listing, now - grace),
    }  # fmt: skip
    still_open = sum(not state.status.ended for state in states)
    say("asking how the line gets on")
    return Report(
        counts(told, listing), still_open, compute_of(states), tuple(sorted(violations)), notices_of(settings, states)
    )


def notices_of(settings: Settings, states: Iterable[JobState]) -> tuple[str, ...]:
    """Of a line that is stopped and owes nobody anything there are none."""
    now, under_way = time.time(), [state for state in states if not state.status.ended]
    silence = diagnosis.coordinator_silence(settings, now) if under_way else []
    vain = [] if silence else diagnosis.waiting_in_vain(settings, under_way, now)
    return (*diagnosis.held_offsets(settings, now), *diagnosis.dead_reports(settings, now), *silence, *vain)


def read_log(log: Log, say: Say) -> LogSnapshot:
    told = LogSnapshot()
    handled = log.handled_prompts()
    say("reading jobs")
    take_jobs(told.jobs, log.read(JOBS))
    told.settled = told.jobs.ended()
    say("reading completions and dead letters")
    for end in completions_of(log.read(COMPLETIONS)):
        told.ends.setdefault(end.job, []).append(end)
    for message in log.read(DLQ):
        told.letters.take(message.value(), clients.headers_of(message))
    take_jobs(told.jobs, log.read(JOBS))
    take_videos(told.videos, log.read(VIDEOS))
    say("reading prompts")
    for prompt in prompts_of(log.read(PROMPTS), handled):
        told.prompts += 1
        told.violations += check_prompt(prompt, told.jobs, told.letters, told.videos)
    return told


def deleted_since(log: Log, told: LogSnapshot) -> set[str]:
    """Jobs and videos that were there when the log was read and are deleted by now."""
    jobs, records = told.jobs.latest.copy(), told.videos.records.copy()
    later, now = JobsLog(latest=jobs.copy()), Videos(records.copy())
    take_jobs(later, log.read(JOBS))
    take_videos(now, log.read(VIDEOS))
    gone = {job for job in jobs if job not in later.latest or later.latest[job].status is JobStatus.DELETED}
    return gone | (records.keys() - now.records.keys())


def counts(told: LogSnapshot, listing: StoreListing) -> dict[str, int]:
    """How many of what were looked at."""
    return {
        "prompts": told.prompts,
        "jobs": len(told.jobs.latest),
        "job states": told.jobs.records,
        "completions": sum(map(len, told.ends.values())),
        "dead letters": len(told.letters.by_origin),
        "manifests": len(listing.manifests),
        "objects": len(listing.objects),
        "digests": len(listing.digests),
    }


def take_jobs(jobs: JobsLog, messages: Iterable[Message]) -> None:
    for message in messages:
        state = event_of(message)
        if message.value() is not None and not isinstance(state, JobState):
            raise ClientError(f"`jobs` holds what is no job state at offset {message.offset()}")
        jobs.take((message.key() or b"").decode(), state if isinstance(state, JobState) else None)


def take_videos(taken: Videos, messages: Iterable[Message]) -> None:
    for message in messages:
        taken.take((message.key() or b"").decode(), None if message.value() is None else event_of(message))


def completions_of(messages: Iterable[Message]) -> Iterator[Completion]:
    return (event for message in messages if isinstance(event := event_of(message), Completion))


def prompts_of(messages: Iterable[Message], handled: dict[int, int]) -> Iterator[Prompt]:
    """Those that the coordinator has answered for; the rest waits, which is no breach."""
    for message in messages:
        partition, offset = message.partition() or 0, message.offset() or 0
        if offset < handled.get(partition, 0):
            yield Prompt(partition, offset, message.value(), clients.headers_of(message))


def check_states(states: Iterable[JobState], listing: StoreListing, ended_after: float) -> Iterator[Violation]:
    for state in states:
        yield from check_state(state)
        yield from objects.check_references(state, listing, ended_after)
