"""The policy that the settings of a coordinator make."""

from __future__ import annotations

import math

from runtime.settings import Settings
from schemas.bundle import BundleManifest
from schemas.retention import Retention
from schemas.signature import read_signers
from streams.coordinator.core.policy import Policy


def policy_of(settings: Settings, bundles: dict[str, BundleManifest], coordinator: str) -> Policy:
    """`coordinator` names one life of one process. Raises `OSError`, `ValueError` for a bad file of signers."""
    return Policy(
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
        kept_seconds={
            Retention.EPHEMERAL: settings.retention_ephemeral_s,
            Retention.STANDARD: settings.retention_standard_s,
        },
    )
