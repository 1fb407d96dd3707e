"""Nothing that an event says leads out of its place in the store."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from schemas import store_layout
from schemas.events.artifacts import ArtifactRef, Manifest, ObjectRef
from schemas.events.reports import Done, InputMissing
from schemas.events.tasks import Task
from schemas.stage import STAGES, Stage
from streams.coordinator.core.outcomes import is_in_place
from streams.coordinator.core.transitions import new_job
from tests.contract.examples import FIRST

HOSTILE = (
    "../other", "..", ".", "/etc/passwd", "a/../b", "a//b", "a/", "/a", "", "a\x00b", "a\nb", "a\r\nX-Amz-Acl: x",
    "a b", "a\\b", "a%2e%2e/b", "ä", "-a", "a/.hidden", "x" * 2000, "a?b", "a#b", 'a"b',
)  # fmt: skip
PARTS = (*HOSTILE, "a/b")
(TASK,) = (event for event in FIRST if isinstance(event, Task))
(DONE,) = (event for event in FIRST if isinstance(event, Done))
(MISSING,) = (event for event in FIRST if isinstance(event, InputMissing))
OBJECT = {"name": "video", "key": "videos/acme/job/v.mp4", "size": 1, "sha256": "0" * 64}
ARTIFACT = {"stage": "denoise", "key": "k", "manifest_key": "artifacts/acme/denoise/k/manifest.json", "etag": "e"}
MANIFEST = {"stage": "denoise", "key": "k", "lease": 1, "objects": []}


def refuses(model: type[Any], fields: dict[str, Any]) -> bool:
    try:
        model.read(fields)
    except ValidationError:
        return True
    return False


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_a_key_that_leads_elsewhere_is_refused_where_the_event_is_read(text: str) -> None:
    assert refuses(ObjectRef, OBJECT | {"key": text})
    assert refuses(ArtifactRef, ARTIFACT | {"manifest_key": text})
    assert refuses(Done, DONE.model_dump() | {"objects": [OBJECT | {"key": text}]})
    assert refuses(Task, TASK.model_dump() | {"upstream": ARTIFACT | {"manifest_key": text}})


@pytest.mark.parametrize("text", PARTS, ids=repr)
def test_a_word_that_becomes_part_of_a_key_is_no_path(text: str) -> None:
    for field in ("tenant", "job", "key"):
        assert refuses(Task, TASK.model_dump() | {field: text}), field
    for field in ("job", "key"):
        assert refuses(Done, DONE.model_dump() | {field: text}), field
    assert refuses(ArtifactRef, ARTIFACT | {"key": text})
    assert refuses(Manifest, MANIFEST | {"key": text})


@pytest.mark.parametrize("text", ['e"', "e\r\nIf-None-Match: *", "e f", "x" * 200])
def test_an_etag_cannot_end_its_header(text: str) -> None:
    assert refuses(ArtifactRef, ARTIFACT | {"etag": text})
    assert refuses(Task, TASK.model_dump() | {"condemned_etag": text})
    assert refuses(InputMissing, MISSING.model_dump() | {"etag": text})


def test_the_same_without_the_hostile_part_is_read() -> None:
    assert not refuses(ObjectRef, OBJECT)
    assert not refuses(Manifest, MANIFEST)
    assert not refuses(Task, TASK.model_dump() | {"upstream": ARTIFACT})


def test_an_outcome_that_names_another_tenants_objects_is_not_this_jobs() -> None:
    state = new_job("video_1", "acme", "digest", 0.0)
    for stage in STAGES:
        own = store_layout.folder("acme", stage, "k", "video_1")
        foreign = [
            store_layout.folder("globex", stage, "k", "video_1"),
            store_layout.folder("acme", stage, "other", "video_2"),
            f"{own}-2",
        ]
        assert is_in_place(state, done(stage, own, own))
        assert not any(is_in_place(state, done(stage, place, own)) for place in foreign)
        assert not any(is_in_place(state, done(stage, own, place)) for place in foreign)


def done(stage: Stage, manifest: str, object: str) -> Done:
    artifact = ArtifactRef(stage=stage, key="k", manifest_key=f"{manifest}/{store_layout.MANIFEST}", etag="e")
    ref = ObjectRef(name="video", key=f"{object}/v", size=1, sha256="0" * 64)
    return DONE.model_copy(update={"stage": stage, "key": "k", "artifact": artifact, "objects": (ref,)})
