"""A job asked for anew: the same recipe by a new job that names the old one, all of it or from a stage on.

What the old job was served instead of what it asked for is not asked for again, and models are as they are now.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from schemas.digest import digest
from schemas.events.prompts import PromptSubmitted, Runs
from schemas.job import JobState
from schemas.recipe import Recipe
from schemas.stage import Stage
from streams.kafka.errors import ClientError

SAME = sorted(Recipe.model_fields.keys() & PromptSubmitted.model_fields.keys())


class NotRepeatable(ClientError):
    """The job cannot be asked for again."""


def resubmitted(job: JobState, key: str, runs: Runs | None = None) -> PromptSubmitted:
    """The prompt of a job like this one. Raises `NotRepeatable`."""
    recipe = job.asked or job.recipe
    if recipe is None:
        raise NotRepeatable(f"{job.job} never became a recipe: its prompt was refused")
    try:
        return PromptSubmitted(
            **{name: getattr(recipe, name) for name in SAME}, size=f"{recipe.width}x{recipe.height}",
            tenant=job.tenant, priority=job.priority, idempotency_key=key, exact=job.exact, runs=runs or None,
            metadata=job.metadata | {"parent": job.job},
        )  # fmt: skip
    except ValidationError as error:
        raise NotRepeatable(
            f"{job.job} cannot be asked for again: {error.errors(include_url=False)[0]['msg']}"
        ) from None


def replayed(job: JobState, start: Stage, known: Iterable[JobState]) -> PromptSubmitted:
    """The prompt that computes `start` and what follows under a run number that none of the `known` jobs has.

    Earlier stages keep the run that the job had: their outputs are found in the store. Raises `NotRepeatable`.
    """
    if not job.status.ended:
        raise NotRepeatable(f"{job.job} has not ended: it is {job.status}; `latentline cancel` ends it")
    run = 1 + max(other.runs.get(start, 0) for other in (job, *known) if is_alike(job, other))
    key = "replay-" + digest([job.job, start, run])[:32]
    return resubmitted(job, key, job.runs | {start: run})


def is_alike(job: JobState, other: JobState) -> bool:
    """Whether both may find each other's outputs."""
    return (other.tenant, other.asked or other.recipe) == (job.tenant, job.asked or job.recipe)
