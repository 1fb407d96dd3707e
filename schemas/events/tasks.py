"""What the coordinator sends to a worker."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen
from schemas.events.artifacts import ArtifactRef
from schemas.recipe import Recipe
from schemas.stage import Stage
from schemas.store_layout import Etag, Segment


class Task(Frozen):
    """A lease: this incarnation may run this stage of this job. `upstream` is the output it reads."""

    incarnation: str
    lease: int = Field(ge=1)
    job: Segment
    tenant: Segment
    stage: Stage
    key: Segment = Field(description="stage key")
    recipe: Recipe
    attempt: int = Field(ge=1)
    upstream: ArtifactRef | None = None
    condemned_etag: Etag | None = Field(None, description="a manifest at this etag is no hit; replace it")
    metadata: dict[str, str] = {}
    recipe_digest: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the recipe is the one that was sent: a release drops the settings that it has never heard of."""
        return self.recipe_digest in (None, self.recipe.digest)


class CancelTask(Frozen):
    """Stop this lease. A worker that has never read the lease remembers that it is void."""

    incarnation: str
    lease: int
    reason: str


class Drain(Frozen):
    """Take no new task; finish or hand over what is held; then leave. `at_once`: another life of this worker runs."""

    incarnation: str
    reason: str
    at_once: bool = False
