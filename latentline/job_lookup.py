"""The job that a person means by an id or by the beginning of one."""

from __future__ import annotations

import re

from latentline.failures import CommandFailed
from schemas.job import JobState

LISTED = 5
WHOLE = re.compile(r"video_[0-9a-f]{32}")


def is_whole(text: str) -> bool:
    return WHOLE.fullmatch(text) is not None


def find_job(jobs: dict[str, JobState], text: str) -> JobState:
    """Raises `CommandFailed` when no job, or more than one, begins like that."""
    wanted = text if text.startswith("video_") else f"video_{text}"
    found = [state for job, state in jobs.items() if job.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandFailed(f"no job {text}: `latentline jobs` lists them")
    listed = ", ".join(state.job for state in found[:LISTED])
    raise CommandFailed(f"{text} could be any of {len(found)} jobs: {listed}")
