"""A reference to what belongs to somebody else is refused, whoever wrote it: a task, a manifest, an object."""

from __future__ import annotations

from typing import Any

import pytest
import urllib3

from runtime.settings import Settings
from schemas.digest import sha256
from schemas.errors import ForeignObject, InputLost
from schemas.events.artifacts import ArtifactRef, Manifest, ObjectRef
from schemas.stage import Stage
from stages.storage.artifacts import ArtifactStore, ManifestUnreadable
from tests.store.test_execute import Shout, done, second_stage, task

pytestmark = pytest.mark.broker
OTHERS = "artifacts/other/encode/key-1"


@pytest.fixture
def store(line: Settings) -> ArtifactStore:
    secret = line.store_secret_key.get_secret_value()
    return ArtifactStore.connect(line.store_endpoint, line.store_access_key, secret, line.store_bucket)


def test_a_task_reads_no_other_tenants_output(store: ArtifactStore) -> None:
    made = done(store, task(), Shout()).artifact
    runner = second_stage()
    for place in (f"{OTHERS}/manifest.json", "artifacts/t/encode/key-2/manifest.json"):
        with pytest.raises(ForeignObject, match="not the encode output of tenant t"):
            done(store, task(upstream=made.model_copy(update={"manifest_key": place})), runner)
    assert runner.runs == []


def test_a_manifest_that_names_objects_elsewhere_is_none(store: ArtifactStore) -> None:
    folder = store.folder_of(task())
    theirs = store.put(OTHERS, blob := Shout().run(task(), {}, None).objects[0])  # type: ignore[arg-type]
    stolen = Manifest(stage=Stage.ENCODE, key="key-1", lease=1, objects=(theirs,))
    store._put(f"{folder}/manifest.json", stolen.to_bytes(), "application/json")
    with pytest.raises(ManifestUnreadable):
        store.find(folder)
    ref = ArtifactRef(stage=Stage.ENCODE, key="key-1", manifest_key=f"{folder}/manifest.json", etag="e")
    with pytest.raises(InputLost, match="the manifest is corrupt"):
        store.read_manifest(ref)
    repaired = done(store, task(), Shout())
    assert [each.key for each in repaired.objects] == [f"{folder}/{sha256(blob.data)}"]


def test_of_an_object_longer_than_promised_no_more_is_read_than_was_promised(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, size = f"{OTHERS}/long", 8 * 1024 * 1024
    store._put(key, bytes(size), "application/octet-stream")
    lengths = []
    read = urllib3.response.HTTPResponse.read

    def noted(self: Any, *arguments: Any, **options: Any) -> bytes:
        data: bytes = read(self, *arguments, **options)
        lengths.append(len(data))
        return data

    monkeypatch.setattr(urllib3.response.HTTPResponse, "read", noted)
    ref = ObjectRef(name="said", key=key, size=4, sha256=sha256(bytes(4)))
    source = ArtifactRef(stage=Stage.ENCODE, key="key-1", manifest_key=f"{OTHERS}/manifest.json", etag="e")
    with pytest.raises(InputLost, match="does not match its digest"):
        store.read(ref, source)
    assert sum(lengths) == 5
