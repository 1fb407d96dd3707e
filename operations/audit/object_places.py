"""Where an object belongs, told by its key alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

MANIFEST_NAME = "manifest.json"
ARTIFACT_KEY = re.compile(r"(artifacts/([^/]+)/([^/]+)/([^/]+))/(.+)")
VIDEO_KEY = re.compile(r"(videos/([^/]+)/([^/]+))/(.+)")


class Kind(StrEnum):
    ARTIFACT = "artifact"
    CHECKPOINT = "checkpoint"
    VIDEO = "video"
    ORPHAN = "orphan"
    """Whatever no job holds."""


@dataclass(frozen=True)
class Place:
    """`folder` is what one manifest makes exist; `owner` its stage key, or the job of a video."""

    folder: str
    tenant: str
    stage: str
    owner: str
    kind: Kind

    @property
    def manifest(self) -> str:
        return f"{self.folder}/{MANIFEST_NAME}"


def place_of(key: str) -> Place | None:
    """None for what is not laid out as the line does it."""
    if found := VIDEO_KEY.fullmatch(key):
        folder, tenant, job, _ = found.groups()
        return Place(folder, tenant, "mux", job, Kind.VIDEO)
    if found := ARTIFACT_KEY.fullmatch(key):
        folder, tenant, stage, owner, name = found.groups()
        return Place(folder, tenant, stage, owner, Kind.CHECKPOINT if name.startswith("checkpoint/") else Kind.ARTIFACT)
    return None
