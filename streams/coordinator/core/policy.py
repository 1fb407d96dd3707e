"""The numbers by which the core decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from schemas.bundle import BundleManifest
from schemas.retention import DEFAULT, Retention
from schemas.signature import Signers

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
    tombstone_seconds: float = STUB_DAYS * 24 * 3600.0
    kept_seconds: Mapping[Retention, float] = field(default_factory=dict)
    """From the end of a job, by class; a class that is not there keeps its videos until somebody deletes them."""
    tenants: Mapping[str, Retention] = field(default_factory=dict)
    """The class of jobs that name none, of tenants for whom an operator has set one."""

    def retention_of(self, tenant: str) -> Retention:
        return self.tenants.get(tenant, DEFAULT)

    def expiry(self, retention: Retention | None, ended_at: float) -> float | None:
        """When the video of a job that has ended expires, unix seconds; None: never."""
        kept = None if retention is None else self.kept_seconds.get(retention)
        return None if kept is None else ended_at + kept

    def of_cell(self, cell: int) -> Policy:
        return replace(self, cell=cell)
