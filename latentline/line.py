"""Which line a command talks to: the one that environment variables name, else the local stack that runs here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.local.stack import Stack
    from runtime.settings import Settings
    from stages.storage.artifacts import ArtifactStore

PREFIX = "LATENTLINE_"


def local_stack() -> Stack:
    """The stack of `LATENTLINE_DATA_DIR`, else of `.latentline` in this folder; it may be down."""
    from infra.local.stack import Stack

    return Stack(Path(os.environ.get(f"{PREFIX}DATA_DIR", ".latentline")))


def settings() -> Settings:
    """Variables first, then what the running local stack says.

    Raises `StackError` when no broker is named and no stack runs, `ValidationError` for a bad variable.
    """
    from infra.local.plan import settings_in
    from runtime.settings import Settings

    if f"{PREFIX}KAFKA_BOOTSTRAP" in os.environ:
        return Settings()
    named = local_stack().environment()
    return settings_in({name: value for name, value in named.items() if name not in os.environ}, Settings())


def settings_of(stack: Stack) -> Settings:
    """Settings of a running stack, whatever broker or store this process's variables name."""
    from infra.local.plan import settings_in
    from runtime.settings import Settings

    return settings_in(stack.environment(), Settings())


def store(settings: Settings) -> ArtifactStore:
    from stages.storage.artifacts import ArtifactStore

    return ArtifactStore.connect(
        settings.store_endpoint, settings.store_access_key, settings.store_secret_key.get_secret_value(),
        settings.store_bucket, secure=settings.store_secure, region=settings.store_region,
    )  # fmt: skip
