"""What stays of a deleted job, field by field: nothing that a user said, wherever it stands."""

from __future__ import annotations

import orjson

from schemas import store_layout
from schemas.base import Frozen
from schemas.catalogue import MEDIA_TYPES, CatalogueRecord, record_of
from schemas.job import FORMAT, Attempt, JobState, JobStatus, StageState
from streams.coordinator.core.transitions import deleted
from tests.contract.examples import LATER, NOW, POSTER, VIDEO

WHOLE = LATER["latentline.job_state.v1.9"]
KEPT = {
    JobState: {
        "job", "tenant", "version", "status", "body_digest", "accepted_at", "updated_at", "ended_at", "deleted_at",
        "stages", "attempts", "format",
    },
    StageState: {"key"},
    Attempt: {"stage", "lease", "worker", "outcome", "dispatched_at", "ended_at", "suspicious", "alone"},
}  # fmt: skip


def test_every_other_field_is_as_if_it_had_never_been_set() -> None:
    assert isinstance(WHOLE, JobState)
    gone = deleted(WHOLE, NOW + 99)
    assert (gone.status, gone.deleted_at, gone.format) == (JobStatus.DELETED, NOW + 99, FORMAT)
    for value in (gone, *gone.stages.values(), *gone.attempts):
        assert said(value) <= KEPT[type(value)]


def said(value: Frozen) -> set[str]:
    """Fields that are not at their default, which every field has but for ids and times."""
    fields = type(value).model_fields
    return {name for name in fields if fields[name].is_required() or getattr(value, name) != fields[name].default}


def test_the_record_of_a_video_has_no_word_of_its_prompt_and_is_small() -> None:
    assert isinstance(WHOLE, JobState)
    assert WHOLE.recipe is not None
    folder = f"videos/{WHOLE.tenant}/{WHOLE.job}"
    files = {
        name: VIDEO.replace(name=name, media_type=kind, key=store_layout.file(folder, VIDEO.sha256, kind))
        for name, kind in MEDIA_TYPES.items()
    }
    record = record_of(WHOLE.model_copy(update=files | {"status": JobStatus.COMPLETED}))
    assert record is not None
    text = CatalogueRecord.of(record).to_bytes()
    for word in (WHOLE.recipe.prompt, WHOLE.recipe.negative_prompt, WHOLE.webhook_url):
        assert orjson.dumps(word)[1:-1] not in text
    assert len(text) <= 620
    assert CatalogueRecord.read(text).record == record
    assert record.state.is_submitted
    assert (record.state.job, record.state.expires_at) == (WHOLE.job, WHOLE.expires_at)


def test_a_record_says_where_a_file_lies_if_it_lies_elsewhere() -> None:
    """Of videos of before the catalogue, which the janitor finds in the store."""
    assert isinstance(WHOLE, JobState)
    poster = POSTER.replace(media_type="image/png")
    files = {"status": JobStatus.COMPLETED, "video": VIDEO, "poster": poster, "spritesheet": None}
    record = record_of(WHOLE.model_copy(update=files))
    assert record is not None
    assert CatalogueRecord.read(CatalogueRecord.of(record).to_bytes()).record == record
