"""The truth about all jobs, as of now: the compacted `jobs` topic read to its end."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Message

from runtime.settings import Settings
from schemas.job import JobState
from streams.kafka.reader import Reader, event_of
from streams.kafka.topics import JOBS


def snapshot(settings: Settings) -> dict[str, JobState]:
    """Every job by id, in the order of their acceptance. Raises `ClientError`."""
    with Reader(settings) as reader:
        reader.assign(reader.from_start(JOBS))
        return latest_states(reader.read_to_end())


def latest_states(records: Iterable[Message]) -> dict[str, JobState]:
    """What `jobs` says once all of `records` are read: the last state of each key, unless it is a tombstone."""
    latest: dict[object, Message] = {}
    for record in records:
        latest[record.key()] = record
    states = (event_of(record) for record in latest.values())
    known = [state for state in states if isinstance(state, JobState) and state.is_submitted]
    return {state.job: state for state in sorted(known, key=lambda state: state.accepted_at)}
