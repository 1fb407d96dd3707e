"""Whether the line gets on, as its log alone tells it: for `doctor` and the audit, on any broker.

What only its coordinator knows it says itself at /healthz; this is what shows though the coordinator is gone or wrong.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from confluent_kafka import KafkaException, TopicPartition

from operations.dead_letters.records import dead_letter_of
from operations.workers import WorkerRegistry
from runtime.settings import Settings
from schemas.events.reports import Heartbeat, Tick
from schemas.job import JobState, JobStatus
from streams.kafka import clients
from streams.kafka.errors import Unreachable
from streams.kafka.offsets import HELD_AFTER_S, Ends, Place, admin_client, ends_of
from streams.kafka.reader import Reader, event_of
from streams.kafka.topics import COMPLETIONS, DLQ, JOBS, PROMPTS, REPORTS

LATELY_S = 600.0
"""What was dead-lettered since then is news."""
SILENT_AFTER_S = 30.0
"""A coordinator ticks each second; a takeover takes less than this."""
WAITS_TOO_LONG_S = 15.0
"""A worker that is free and fits gets a job within a second."""
READ_ON = (PROMPTS, REPORTS, JOBS, COMPLETIONS)
"""Topics that the line, or whoever waits for it, reads as they are committed."""


def held_offsets(settings: Settings, now: float) -> list[str]:
    """Topics whose last stable offset an open transaction holds, and since when. Raises `ClientError`.

    `now`: unix seconds. The time is that of the transaction's first record, as its producer wrote it.
    """
    with Reader(settings) as reader:
        places = {(p.topic, p.partition): topic for topic in READ_ON for p in reader.from_start(topic)}
    admin = admin_client(settings)
    try:
        found = ends_of(admin, places)
        began = {place: began_at(settings, place, ends) for place, ends in found.items() if ends.lag}
    except KafkaException as error:
        raise Unreachable(settings.kafka_bootstrap, error.args[0].str()) from None
    return [
        f"{places[place].name} cannot be read beyond offset {found[place].stable}: a producer has held a transaction "
        f"open there since {time.strftime('%H:%M:%S', time.gmtime(since))} UTC ({now - since:.0f} s), "
        f"{found[place].lag} records wait behind it"
        for place, since in began.items()
        if since is not None and now - since >= HELD_AFTER_S
    ]


def began_at(settings: Settings, place: Place, ends: Ends) -> float | None:
    """When the record at the last stable offset was written, unix seconds; None if it can be read meanwhile."""
    reader = clients.consumer(clients.TOOL, settings, isolation_level="read_uncommitted")
    try:
        reader.assign([TopicPartition(*place, ends.stable)])
        message = reader.poll(5.0)
        if message is None or message.error() is not None:
            return None
        return message.timestamp()[1] / 1000
    finally:
        reader.close()


def dead_reports(settings: Settings, now: float) -> list[str]:
    """Reports that were dead-lettered lately, by reason: whatever a worker says should be understood.

    Raises `ClientError`. `now`: unix seconds.
    """
    with Reader(settings) as reader:
        reader.assign(reader.since(DLQ, now - LATELY_S))
        found = [dead_letter_of(message) for message in reader.read_to_end()]
    reasons = Counter(letter.reason for letter in found if letter.topic == REPORTS.name)
    counted = ", ".join(f"{reason}: {count}" for reason, count in sorted(reasons.items()))
    return [f"reports were dead-lettered in the last {LATELY_S / 60:.0f} minutes ({counted})"] if reasons else []


def coordinator_silence(settings: Settings, now: float) -> list[str]:
    """Whether no coordinator has committed a tick lately, though there is something in `reports`.

    Raises `ClientError`. `now`: unix seconds.
    """
    with Reader(settings) as reader:
        if not any(reader.ends(REPORTS).values()):
            return []
        reader.assign(reader.since(REPORTS, now - SILENT_AFTER_S))
        if any(isinstance(event_of(message), Tick) for message in reader.read_to_end()):
            return []
    return [f"no coordinator has committed anything for {SILENT_AFTER_S:.0f} s: none runs, or the one that does hangs"]


def waiting_in_vain(settings: Settings, states: Iterable[JobState], now: float) -> list[str]:
    """Jobs that wait though a worker that is heard is free for them, or that no worker would ever take.

    Raises `ClientError`. `now`: unix seconds.
    """
    with WorkerRegistry(settings) as roll:
        beats = [heard.beat for heard in roll.workers.values() if not heard.is_gone and not heard.beat.draining]
    words: Counter[str] = Counter()
    for state in states:
        if (stage := state.stage) is None or state.recipe is None or not waits_too_long(state, now):
            continue
        fitting = [beat for beat in beats if fits(beat, state)]
        if not fitting:
            words[f"{stage}: wait with model {state.recipe.model}, which no worker that is heard serves there"] += 1
        elif any(beat.slots > len(beat.leases) for beat in fitting):
            words[f"{stage}: wait with model {state.recipe.model} though a worker that fits is free"] += 1
    return [f"{count} job(s) of {word}" for word, count in sorted(words.items())]


def waits_too_long(state: JobState, now: float) -> bool:
    stage = state.stage
    if stage is None or state.status is not JobStatus.WAITING or state.stages[stage].suspicions:
        return False
    return max(state.updated_at, state.stages[stage].not_before) < now - WAITS_TOO_LONG_S


def fits(beat: Heartbeat, state: JobState) -> bool:
    recipe = state.recipe
    if recipe is None or recipe.model not in beat.bundles:
        return False
    said = beat.revisions.get(recipe.model, "")
    return said in ("", recipe.revision) and any(inbox.stage is state.stage for inbox in beat.inboxes)
