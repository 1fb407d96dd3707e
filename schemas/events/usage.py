"""What a tenant or a stage has used in an hour."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen


class UsageWindow(Frozen):
    """Usage of a tenant in one tumbling window, republished as it grows."""

    tenant: str
    window_start: float
    window_seconds: float
    jobs: dict[str, int] = Field({}, description="ended jobs by outcome")
    video_seconds: float = 0.0
    compute_seconds: dict[str, float] = Field({}, description="by stage")
