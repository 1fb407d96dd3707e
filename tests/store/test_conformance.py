"""What the line asks of an S3 server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.errors import InputLost
from schemas.events import Manifest
from schemas.stage import Stage
from stages.contract import Blob, Checkpoint
from stages.store import ArtifactStore, StoredCheckpoints
from streams.settings import Settings

FOLDER = "artifacts/t/encode/key"


@pytest.fixture
def store(line: Settings) -> ArtifactStore:
    secret = line.store_secret_key.get_secret_value()
    return ArtifactStore.connect(line.store_endpoint, line.store_access_key, secret, line.store_bucket)


def manifest(store: ArtifactStore, lease: int, data: bytes = b"embeds") -> Manifest:
    ref = store.put(FOLDER, Blob("embeds", data))
    return Manifest(stage=Stage.ENCODE, key="key", lease=lease, objects=(ref,))


def test_nothing_exists_before_its_manifest(store: ArtifactStore) -> None:
    first = manifest(store, 1)
    assert store.find(FOLDER) is None
    published = store.publish(FOLDER, first)
    assert store.find(FOLDER) == published


def test_of_eight_racers_one_wins_and_all_report_it(store: ArtifactStore) -> None:
    manifests = [manifest(store, lease) for lease in range(1, 9)]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda m: store.publish(FOLDER, m), manifests))
    assert len({result.ref.etag for result in results}) == 1
    assert len({result.manifest.lease for result in results}) == 1


def test_a_condemned_manifest_is_replaced_once(store: ArtifactStore) -> None:
    old = store.publish(FOLDER, manifest(store, 1))
    new = store.publish(FOLDER, manifest(store, 2), replaces=old.ref.etag)
    late = store.publish(FOLDER, manifest(store, 3), replaces=old.ref.etag)
    assert new.manifest.lease == 2
    assert late.ref.etag == new.ref.etag


def test_corrupt_and_missing_objects_are_found(store: ArtifactStore, line: Settings) -> None:
    published = store.publish(FOLDER, manifest(store, 1))
    ref = published.manifest.objects[0]
    fresh = ArtifactStore(store.client, store.bucket)
    assert fresh.read(ref, published.ref) == b"embeds"
    store._put(ref.key, b"embedz", "application/octet-stream")
    with pytest.raises(InputLost, match="does not match"):
        fresh.read(ref, published.ref)
    store.remove(ref.key)
    with pytest.raises(InputLost, match="missing"):
        ArtifactStore(store.client, store.bucket).read(ref, published.ref)
    assert not store.exists(ref)


def test_highest_valid_checkpoint_wins_and_two_are_kept(store: ArtifactStore) -> None:
    checkpoints = StoredCheckpoints(store, "artifacts/t/denoise/key/checkpoint/cpu/", lease=3)
    assert checkpoints.latest() is None
    for step in (2, 4, 6):
        checkpoints.save(Checkpoint(step, f"state {step}".encode()))
    assert checkpoints.latest() == Checkpoint(6, b"state 6")
    kept = sorted(store.list(checkpoints.prefix))
    assert [int(key.rpartition("/")[2].split("-")[0]) for key in kept] == [4, 6]
    store._put(kept[-1], b"torn", "application/octet-stream")
    assert checkpoints.latest() == Checkpoint(4, b"state 4")
