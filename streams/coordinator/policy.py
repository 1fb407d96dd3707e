"""The numbers by which the core decides, taken from the settings once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from schemas.bundle import BundleManifest
from schemas.signature import Signers, read_signers
from streams.settings import Settings

STUB_DAYS = 8
"""Longer than `prompts` is retained (7 days) and a client's retries, so a replayed prompt stays a no-op."""


@dataclass(frozen=True)
class Policy:
    """Ages are in ticks of one second, delays in seconds."""

    cell: int = 0
    coordinator: str = "coordinator"
    bucket: str = "latentline"
    default_model: str = "tiny"
    bundles: dict[str, BundleManifest] = field(default_factory=dict)
    signers: Signers | None = None
    lost_after: int = 8
    unread_after: int = 5
    hold_after_gap: int = 3
    parked_after: int = 60
    max_attempts: int = 3
    suspicion_limit: int = 3
    stub_seconds: float = STUB_DAYS * 24 * 3600.0

    def of_cell(self, cell: int) -> Policy:
        return replace(self, cell=cell)

    @classmethod
    def of(cls, settings: Settings, bundles: dict[str, BundleManifest], coordinator: str) -> Policy:
        """`coordinator` names one life of one process. Raises `OSError`, `ValueError` for a bad file of signers."""
        return cls(
            coordinator=coordinator,
            bucket=settings.store_bucket,
            default_model=settings.default_model,
            bundles=bundles,
            signers=None if settings.signers_file is None else read_signers(settings.signers_file),
            lost_after=math.ceil(settings.worker_lost_after_s),
            unread_after=math.ceil(settings.unread_lease_after_s),
            hold_after_gap=math.ceil(settings.heartbeat_interval_s),
            parked_after=math.ceil(settings.parked_lease_after_s),
            max_attempts=settings.max_attempts,
            suspicion_limit=settings.suspicion_limit,
        )
