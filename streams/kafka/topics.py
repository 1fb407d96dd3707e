"""The topic table: nothing else in the project spells a topic's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas import catalogue, webhooks
from schemas.base import Frozen
from schemas.events import completions, progress, prompts, reports, tasks, tenants, usage
from schemas.job import JobState

DAY_MS = 24 * 3600 * 1000
HOUR_MS = 3600 * 1000
COMPACTION_LAG_MS = HOUR_MS
"""What a newer record replaces is gone from a compacted topic after this long, plus the cleaner's turn.

Without it the active segment is never compacted: a deleted prompt would stay on disk until the segment is full.
"""
SEGMENTS_KEPT = 8
"""Segments of a retention: only whole ones are deleted, so a record stays for its retention and one segment more."""
LARGEST_PROMPT_BYTES = 1024 * 1024
LARGEST_VALUE_BYTES = 8 * 1024 * 1024
"""A broker measures a record as it keeps it: compressed, one within the limit above may be many times as large."""

Cleanup = Literal["delete", "compact"]
Direction = Literal["receive", "send"]


@dataclass(frozen=True)
class Topic:
    """One row of the table.

    `carries` are the event types of its records. `partitions` is the local default. Topics with `per_cell` have one
    partition a cell and are written by explicit partition number, since client libraries hash keys differently.
    `public` says what the line does with a topic that others may use; None: internal. `holds_prompts`: its records have
    the words of users in them. `unpacked`: the broker keeps its records uncompressed, so that it measures what a reader
    will have to unpack.
    """

    name: str
    key: str
    carries: tuple[type[Frozen], ...]
    about: str
    partitions: int = 1
    per_cell: bool = False
    cleanup: Cleanup = "delete"
    retention_ms: int = DAY_MS
    max_message_bytes: int = LARGEST_PROMPT_BYTES
    public: Direction | None = None
    holds_prompts: bool = False
    unpacked: bool = False

    def named(self, prefix: str = "") -> str:
        return f"{prefix}{self.name}"

    def config(self) -> dict[str, str]:
        """The broker-side configuration of this topic, as `kafka-configs` spells it."""
        config = {"cleanup.policy": self.cleanup, "max.message.bytes": str(self.max_message_bytes)}
        config["compression.type"] = "uncompressed" if self.unpacked else "producer"
        if self.cleanup == "delete":
            config |= {"retention.ms": str(self.retention_ms)}
        else:
            config |= {"min.cleanable.dirty.ratio": "0.1", "max.compaction.lag.ms": str(COMPACTION_LAG_MS)}
        return config | {"segment.ms": str(self.segment_ms)}

    @property
    def segment_ms(self) -> int:
        """Age in milliseconds at which a segment is closed."""
        return COMPACTION_LAG_MS if self.cleanup == "compact" else self.retention_ms // SEGMENTS_KEPT

    @property
    def longest_ms(self) -> int:
        """For how long a record may lie on disk once it is deleted or has aged, in milliseconds."""
        return self.retention_ms + self.segment_ms if self.cleanup == "delete" else 2 * COMPACTION_LAG_MS


ADDRESSED = (tasks.Task, tasks.CancelTask, tasks.Drain)
REPORTED = (
    reports.Started, reports.Done, reports.Failed, reports.Preempted, reports.TaskCancelled, reports.InputMissing,
    reports.Heartbeat, reports.Tick, reports.DrainRequested, reports.ExpiryDue,
)  # fmt: skip
ENDS = (completions.JobCompleted, completions.JobFailed, completions.JobCancelled)

PROMPTS = Topic(
    "prompts", "tenant", (prompts.PromptSubmitted, prompts.CancelRequested, prompts.DeleteRequested),
    "what upstream services ask for", per_cell=True, retention_ms=7 * DAY_MS, public="receive",
    holds_prompts=True, unpacked=True,
)  # fmt: skip
TASKS_ENCODE = Topic(
    "tasks.encode", "incarnation", ADDRESSED, "inboxes of encode workers", partitions=16, holds_prompts=True
)
TASKS_DENOISE = Topic(
    "tasks.denoise", "incarnation", ADDRESSED, "inboxes of denoise workers", partitions=16, holds_prompts=True
)
TASKS_DECODE = Topic(
    "tasks.decode", "incarnation", ADDRESSED, "inboxes of decode workers", partitions=16, holds_prompts=True
)
TASKS_MUX = Topic("tasks.mux", "incarnation", ADDRESSED, "inboxes of mux workers", partitions=16, holds_prompts=True)
REPORTS = Topic("reports", "incarnation", REPORTED, "outcomes, heartbeats, ticks, operators' wishes", per_cell=True)
PROGRESS = Topic(
    "progress", "job", (progress.StepProgress,), "steps done; best effort", per_cell=True, retention_ms=HOUR_MS
)
JOBS = Topic(
    "jobs", "job", (JobState,), "the truth, written only by the coordinator", per_cell=True, cleanup="compact",
    holds_prompts=True,
)  # fmt: skip
VIDEOS = Topic(
    "videos", "job; of a delete its origin",
    (catalogue.CatalogueRecord, catalogue.VideoRecord, catalogue.CatalogueFilled, prompts.DeleteRequested),
    "finished videos, each for as long as it lives; deletes of those whose job is forgotten, until they are done",
    per_cell=True, cleanup="compact",
)  # fmt: skip
POLICY = Topic("policy", "kind/key", (), "the coordinator's other state", per_cell=True, cleanup="compact")
COMPLETIONS = Topic(
    "completions", "tenant", ENDS, "exactly one a job, for `read_committed` readers",
    partitions=4, retention_ms=7 * DAY_MS, public="send", holds_prompts=True,
)  # fmt: skip
TENANTS = Topic(
    "tenants", "API key or tenant", (tenants.ApiKey, tenants.TenantSettings),
    "whose the gateway's API keys are, and what is set for a tenant", cleanup="compact",
)  # fmt: skip
ENDPOINTS = Topic(
    "endpoints", "endpoint or tenant", (webhooks.WebhookEndpoint, webhooks.TenantSecret),
    "where tenants want to hear of their jobs", cleanup="compact",
)  # fmt: skip
WEBHOOKS = Topic(
    "webhooks", "delivery, endpoint or request",
    (webhooks.WebhookDelivery, webhooks.EndpointDisabled, webhooks.DeliveryRequested),
    "how each webhook delivery gets on, and what is asked of the notifier", cleanup="compact", holds_prompts=True,
)  # fmt: skip
USAGE = Topic(
    "usage", "tenant", (usage.UsageWindow,), "windowed usage from the views", retention_ms=30 * DAY_MS, public="send"
)
DLQ = Topic(
    "dlq", "job or none", (), "original bytes and headers, with reason and origin",
    retention_ms=30 * DAY_MS, max_message_bytes=LARGEST_VALUE_BYTES + 64 * 1024, holds_prompts=True,
)  # fmt: skip

TASKS = {"encode": TASKS_ENCODE, "denoise": TASKS_DENOISE, "decode": TASKS_DECODE, "mux": TASKS_MUX}
TOPICS = (
    PROMPTS, *TASKS.values(), REPORTS, PROGRESS, JOBS, VIDEOS, POLICY, COMPLETIONS, TENANTS, ENDPOINTS, WEBHOOKS,
    USAGE, DLQ,
)  # fmt: skip
