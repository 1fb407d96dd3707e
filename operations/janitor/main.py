"""The janitor service: `run_janitor` until SIGTERM, SIGINT or a fault."""

from __future__ import annotations

from operations.janitor.janitor import Janitor
from runtime import logs
from runtime.settings import Settings
from stages.storage.artifacts import ArtifactStore
from streams.kafka.service import serve


def run_janitor(settings: Settings) -> int:
    """Remove what must go until told to stop (0), or until it fails (1): a new life reads the log anew."""
    logs.configure(settings, "janitor")
    store = ArtifactStore.connect(
        settings.store_endpoint, settings.store_access_key, settings.store_secret_key.get_secret_value(),
        settings.store_bucket, secure=settings.store_secure, region=settings.store_region,
    )  # fmt: skip
    return serve(settings, "janitor", Janitor(settings, store))
