"""The catalogue: one small record of every finished video, in the compacted topic `videos`, for as long as it lives.

A job is remembered for days after its end, its video for as long as it is kept. The record has what finding, showing,
expiring and deleting the video takes, and no word of its prompt.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field

from schemas import store_layout
from schemas.base import Frozen
from schemas.events.artifacts import ObjectRef
from schemas.field_types import Name
from schemas.job import JobState, JobStatus
from schemas.retention import Retention
from schemas.stage import Stage
from schemas.store_layout import ObjectKey

FILLED = "filled"
"""The key of `CatalogueFilled`: no job is called that."""
MEDIA_TYPES = {"video": "video/mp4", "poster": "image/webp", "spritesheet": "image/jpeg"}
"""Of each file of a video, by its role."""


class VideoRecord(Frozen):
    """A finished video. Its tombstone says that it is deleted or expired, and that its objects are gone.

    Written in full by earlier releases; a `CatalogueRecord` says the same in half the bytes.
    """

    job: str
    tenant: Name
    body_digest: str = Field(description="of the prompt event: another body under the same id is a conflict")
    accepted_at: float
    completed_at: float
    retention: Retention | None = Field(None, description="unset: of before there were classes; kept")
    expires_at: float | None = Field(None, description="unset: kept until somebody deletes it")
    model: str = ""
    size: str = Field("", description="WIDTHxHEIGHT in pixels")
    duration_s: float = Field(0.0, ge=0)
    video: ObjectRef
    poster: ObjectRef | None = None
    spritesheet: ObjectRef | None = None

    @property
    def record(self) -> VideoRecord:
        return self

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        return tuple(ref for ref in (self.video, self.poster, self.spritesheet) if ref is not None)

    @property
    def state(self) -> JobState:
        """What is left to say of the job once the line has forgotten it."""
        return JobState(
            job=self.job, tenant=self.tenant, version=1, status=JobStatus.COMPLETED, body_digest=self.body_digest,
            accepted_at=self.accepted_at, updated_at=self.completed_at, ended_at=self.completed_at,
            retention=self.retention, expires_at=self.expires_at, video=self.video, poster=self.poster,
            spritesheet=self.spritesheet,
        )  # fmt: skip


class VideoFile(Frozen):
    """A file of a video. Where it lies and what it is follow from its role, unless it says otherwise."""

    sha256: str
    size: int = Field(ge=0)
    key: ObjectKey | None = Field(None, description="object key; unset: `videos/TENANT/JOB/SHA256.SUFFIX`")
    media_type: str | None = Field(None, description="unset: that of its role")

    @classmethod
    def of(cls, ref: ObjectRef, folder: str) -> Self:
        is_usual = ref.media_type == MEDIA_TYPES.get(ref.name)
        is_there = ref.key == store_layout.file(folder, ref.sha256, ref.media_type)
        return cls(
            sha256=ref.sha256,
            size=ref.size,
            key=None if is_there else ref.key,
            media_type=None if is_usual else ref.media_type,
        )

    def ref(self, name: str, folder: str) -> ObjectRef:
        media_type = self.media_type or MEDIA_TYPES[name]
        key = self.key or store_layout.file(folder, self.sha256, media_type)
        return ObjectRef(name=name, key=key, size=self.size, sha256=self.sha256, media_type=media_type)


class CatalogueRecord(Frozen):
    """A finished video. Its tombstone says that it is deleted or expired, and that its objects are gone."""

    job: str
    tenant: Name
    body_digest: str = Field(description="of the prompt event: another body under the same id is a conflict")
    accepted_at: float
    completed_at: float
    retention: Retention | None = Field(None, description="unset: of before there were classes; kept")
    expires_at: float | None = Field(None, description="unset: kept until somebody deletes it")
    model: str = ""
    size: str = Field("", description="WIDTHxHEIGHT in pixels")
    duration_s: float = Field(0.0, ge=0)
    files: dict[str, VideoFile] = Field(
        description="by role: `video`, and `poster` and `spritesheet` where it has them"
    )

    @classmethod
    def of(cls, record: VideoRecord) -> Self:
        folder = store_layout.folder(record.tenant, Stage.MUX, "", record.job)
        said = {name: getattr(record, name) for name in cls.model_fields if name != "files"}
        return cls(**said, files={ref.name: VideoFile.of(ref, folder) for ref in record.objects})

    @property
    def record(self) -> VideoRecord:
        """The same with whole references."""
        folder = store_layout.folder(self.tenant, Stage.MUX, "", self.job)
        said = {name: getattr(self, name) for name in type(self).model_fields if name != "files"}
        refs = {name: self.files[name].ref(name, folder) for name in MEDIA_TYPES if name in self.files}
        return VideoRecord(**said, **refs)


class CatalogueFilled(Frozen):
    """Every video of before there was a catalogue has its record: from now on one without a record is an orphan."""

    at: float


def record_of(state: JobState) -> VideoRecord | None:
    """The record of a completed job; None of another one, or of one without a video."""
    if state.status is not JobStatus.COMPLETED or state.video is None or state.ended_at is None:
        return None
    recipe = state.recipe
    return VideoRecord(
        job=state.job,
        tenant=state.tenant,
        body_digest=state.body_digest,
        accepted_at=state.accepted_at,
        completed_at=state.ended_at,
        retention=state.retention,
        expires_at=state.expires_at,
        model=recipe.model if recipe else "",
        size=f"{recipe.width}x{recipe.height}" if recipe else "",
        duration_s=recipe.seconds if recipe else 0.0,
        video=state.video,
        poster=state.poster,
        spritesheet=state.spritesheet,
    )
