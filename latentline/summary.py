"""What the demo says of each job at its end. Knows nothing of terminals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schemas.events.completions import Completion, JobCompleted
from schemas.stage import STAGES, Stage


@dataclass(frozen=True)
class Summary:
    """One job that ended. `wrong` is what its video shows otherwise, None where nobody judged; sizes in bytes."""

    prompt: str
    completion: Completion
    path: Path | None = None
    wrong: list[str] | None = None

    @property
    def seconds(self) -> float:
        """From acceptance to the end."""
        return self.completion.ended_at - self.completion.accepted_at

    @property
    def wait(self) -> float:
        return sum(stage.wait_seconds for stage in self.completion.stages)

    @property
    def size(self) -> int | None:
        return self.completion.video.size if isinstance(self.completion, JobCompleted) else None

    def of_stage(self, stage: Stage) -> str:
        """Compute seconds, and what is remarkable about them."""
        found = [each for each in self.completion.stages if each.stage is stage and (each.attempts or each.reused)]
        if not found:
            return ""
        (one,) = found
        text = "reused" if one.reused else f"{one.seconds:.1f}"
        return text if one.attempts <= 1 else f"{text} ({one.attempts} attempts)"

    @property
    def reuses(self) -> bool:
        return any(stage.reused for stage in self.completion.stages)

    @property
    def is_right(self) -> bool:
        return self.path is not None and not self.wrong

    @property
    def verdict(self) -> str:
        if self.path is None:
            return "no video"
        if self.wrong is None:
            return "not judged"
        return "; ".join(self.wrong) or "as asked"


HEADINGS = ("video", *map(str, STAGES), "wait", "total", "size", "judge")
"""Seconds from `encode` to `total`."""


def worked(summaries: list[Summary]) -> bool:
    """Whether every job has its video, and most of the videos that were judged show what was asked."""
    judged = [each for each in summaries if each.wrong is not None]
    right = [each for each in judged if not each.wrong]
    return all(each.path for each in summaries) and 2 * len(right) >= len(judged)
