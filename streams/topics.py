"""The topic table: nothing else in the project spells a topic's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DAY_MS = 24 * 3600 * 1000
HOUR_MS = 3600 * 1000
LARGEST_PROMPT_BYTES = 1024 * 1024

Cleanup = Literal["delete", "compact"]


@dataclass(frozen=True)
class Topic:
    """One row of the table.

    `partitions` is the local default. Topics with `per_cell` have one partition a cell and are written by
    explicit partition number, since client libraries hash keys differently.
    """

    name: str
    key: str
    carries: str
    partitions: int = 1
    per_cell: bool = False
    cleanup: Cleanup = "delete"
    retention_ms: int = DAY_MS
    max_message_bytes: int = LARGEST_PROMPT_BYTES
    public: bool = False

    def named(self, prefix: str = "") -> str:
        return f"{prefix}{self.name}"

    def config(self) -> dict[str, str]:
        """The broker-side configuration of this topic, as `kafka-configs` spells it."""
        config = {"cleanup.policy": self.cleanup, "max.message.bytes": str(self.max_message_bytes)}
        if self.cleanup == "delete":
            config["retention.ms"] = str(self.retention_ms)
        else:
            config["min.cleanable.dirty.ratio"] = "0.1"
        return config


PROMPTS = Topic(
    "prompts",
    "tenant",
    "PromptSubmitted, CancelRequested",
    per_cell=True,
    retention_ms=7 * DAY_MS,
    public=True,
)
TASKS_ENCODE = Topic("tasks.encode", "incarnation", "Task, CancelTask, Drain: addressed", partitions=16)
TASKS_DENOISE = Topic("tasks.denoise", "incarnation", "Task, CancelTask, Drain: addressed", partitions=16)
TASKS_DECODE = Topic("tasks.decode", "incarnation", "Task, CancelTask, Drain: addressed", partitions=16)
TASKS_MUX = Topic("tasks.mux", "incarnation", "Task, CancelTask, Drain: addressed", partitions=16)
REPORTS = Topic("reports", "incarnation", "outcomes, heartbeats, the coordinator's ticks", per_cell=True)
PROGRESS = Topic("progress", "job", "StepProgress: best effort", per_cell=True, retention_ms=HOUR_MS)
JOBS = Topic("jobs", "job", "JobState: the truth, written only by the coordinator", per_cell=True, cleanup="compact")
POLICY = Topic("policy", "kind/key", "the coordinator's other state", per_cell=True, cleanup="compact")
COMPLETIONS = Topic(
    "completions", "tenant", "JobCompleted, JobFailed, JobCancelled: exactly one a job",
    partitions=4, retention_ms=7 * DAY_MS, public=True,
)  # fmt: skip
USAGE = Topic("usage", "tenant", "UsageWindow: windowed usage from the views", retention_ms=30 * DAY_MS, public=True)
DLQ = Topic(
    "dlq", "job or none", "original bytes and headers, with reason and origin",
    retention_ms=30 * DAY_MS, max_message_bytes=LARGEST_PROMPT_BYTES + 64 * 1024,
)  # fmt: skip

TASKS = {"encode": TASKS_ENCODE, "denoise": TASKS_DENOISE, "decode": TASKS_DECODE, "mux": TASKS_MUX}
TOPICS = (PROMPTS, *TASKS.values(), REPORTS, PROGRESS, JOBS, POLICY, COMPLETIONS, USAGE, DLQ)
