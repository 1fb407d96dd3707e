"""The table of topics is coherent: with itself, with the events, with the clients' limits."""

from __future__ import annotations

import re

import pytest

from schemas.envelope import EVENTS
from schemas.events.prompts import DeleteRequested
from schemas.stage import STAGES
from streams.kafka.clients import PRODUCER
from streams.kafka.topics import (
    COMPLETIONS,
    DLQ,
    HOUR_MS,
    JOBS,
    LARGEST_PROMPT_BYTES,
    PROMPTS,
    TASKS,
    TOPICS,
    USAGE,
    VIDEOS,
    Topic,
)

ROWS = pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)


def test_names_are_unique_also_as_metrics_spell_them() -> None:
    """Kafka's own metrics write `_` for `.`, so two names may not differ in that alone."""
    assert len({topic.name.replace(".", "_") for topic in TOPICS}) == len(TOPICS)


@ROWS
def test_a_row_is_sane(topic: Topic) -> None:
    assert re.fullmatch(r"[a-z.]{1,100}", topic.name)
    assert topic.key
    assert topic.about
    assert topic.partitions >= 1
    assert topic.retention_ms > 0
    assert not (topic.per_cell and topic.partitions != 1)
    assert topic.named("line-2.") == f"line-2.{topic.name}"
    assert topic.named() == topic.name


@ROWS
def test_a_topic_that_keeps_the_latest_never_forgets_by_age(topic: Topic) -> None:
    config = topic.config()
    assert all(isinstance(value, str) for value in config.values())
    assert ("retention.ms" in config) == (topic.cleanup == "delete")
    assert int(config["max.message.bytes"]) == topic.max_message_bytes


@ROWS
def test_nothing_stays_on_disk_for_much_longer_than_the_table_says(topic: Topic) -> None:
    """A segment that is never closed is neither compacted nor deleted: both need an age at which it is."""
    config = topic.config()
    if topic.cleanup == "compact":
        assert int(config["max.compaction.lag.ms"]) + int(config["segment.ms"]) <= 2 * HOUR_MS
    else:
        assert int(config["segment.ms"]) <= topic.retention_ms / 8
    assert topic.longest_ms <= max(2 * HOUR_MS, topic.retention_ms * 9 / 8)


def test_every_event_has_a_topic_and_every_public_topic_events() -> None:
    assert {model for topic in TOPICS for model in topic.carries} == set(EVENTS)
    assert all(topic.carries for topic in TOPICS if topic.public)
    assert [topic for topic in TOPICS if topic.public] == [PROMPTS, COMPLETIONS, USAGE]


@pytest.mark.parametrize("model", EVENTS, ids=lambda model: model.__name__)
def test_an_event_has_one_kind_of_key(model: type) -> None:
    """But for a delete, which is passed on as it came."""
    topics = [topic for topic in TOPICS if model in topic.carries]
    assert len({topic.key for topic in topics}) == 1 or (model is DeleteRequested and topics == [PROMPTS, VIDEOS])


def test_every_stage_has_its_inboxes() -> None:
    assert list(TASKS) == list(STAGES)
    assert {name: topic.name for name, topic in TASKS.items()} == {stage: f"tasks.{stage}" for stage in STAGES}
    assert len({topic.carries for topic in TASKS.values()}) == 1


def test_a_dead_letter_holds_the_largest_prompt_and_its_headers() -> None:
    assert PROMPTS.max_message_bytes == LARGEST_PROMPT_BYTES
    assert DLQ.max_message_bytes >= max(topic.max_message_bytes for topic in TOPICS if topic is not DLQ) + 64 * 1024


def test_a_producer_may_send_what_every_topic_takes() -> None:
    assert PRODUCER["message.max.bytes"][0] >= max(topic.max_message_bytes for topic in TOPICS)


def test_the_truth_about_jobs_is_kept() -> None:
    assert JOBS.cleanup == "compact"
