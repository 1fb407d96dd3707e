"""What the line asks of an S3 server; each test runs on every server of `SERVERS`."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.local.ports import HOST, choose
from schemas.errors import InputLost, StoreUnavailable
from schemas.events.artifacts import Manifest
from schemas.stage import Stage
from stages.contract import Blob, Checkpoint
from stages.storage.artifacts import ArtifactStore, ManifestUnreadable
from stages.storage.checkpoints import StoredCheckpoints
from stages.storage.object_store import Conflict
from tests.store.conftest import Server

FOLDER = "artifacts/t/encode/key"
PLACE = f"{FOLDER}/manifest.json"


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


def test_corrupt_and_missing_objects_are_found(store: ArtifactStore) -> None:
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


def test_if_none_match_lets_only_the_first_write(store: ArtifactStore) -> None:
    store.write_if(PLACE, b"first", None, "manifest")
    with pytest.raises(Conflict):
        store.write_if(PLACE, b"second", None, "manifest")
    assert store.fetch(PLACE, "manifest") == b"first"


def test_if_match_writes_over_that_etag_alone(store: ArtifactStore) -> None:
    first = store.write_if(PLACE, b"first", None, "manifest")
    second = store.write_if(PLACE, b"second", first, "manifest")
    assert first != second
    with pytest.raises(Conflict):
        store.write_if(PLACE, b"third", first, "manifest")
    assert store.fetch_with_etag(PLACE, "manifest") == (b"second", second)


def test_if_match_on_nothing_is_a_conflict(store: ArtifactStore) -> None:
    with pytest.raises(Conflict):
        store.write_if(PLACE, b"first", "0" * 32, "manifest")
    assert store.fetch(PLACE, "manifest") is None


def test_of_eight_who_replace_a_condemned_manifest_one_wins(store: ArtifactStore) -> None:
    old = store.publish(FOLDER, manifest(store, 1))
    manifests = [manifest(store, lease) for lease in range(2, 10)]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda m: store.publish(FOLDER, m, replaces=old.ref.etag), manifests))
    found = store.find(FOLDER)
    assert found is not None
    assert {result.ref.etag for result in results} == {found.ref.etag} != {old.ref.etag}


def test_what_is_no_manifest_is_replaced(store: ArtifactStore) -> None:
    store._put(f"{FOLDER}/manifest.json", b"{torn", "application/json")
    with pytest.raises(ManifestUnreadable):
        store.find(FOLDER)
    published = store.publish(FOLDER, manifest(store, 1))
    assert store.find(FOLDER) == published


def test_an_object_of_many_parts_comes_back_whole(store: ArtifactStore) -> None:
    """Above 5 MiB the client uploads in parts: the etag is no digest then, ours is."""
    data = random.Random(0).randbytes(11 * 1024 * 1024)
    published = store.publish(FOLDER, manifest(store, 1, data))
    assert ArtifactStore(store.client, store.bucket).read(published.manifest.objects[0], published.ref) == data


def test_a_listing_holds_what_is_under_the_prefix_alone(store: ArtifactStore) -> None:
    for key in ("a/1", "a/b/2", "ab/3"):
        store._put(key, b"x", "text/plain")
    assert sorted(store.list("a/")) == ["a/1", "a/b/2"]
    assert store.list("none/") == []


def test_another_leases_checkpoints_are_read_and_not_removed(store: ArtifactStore) -> None:
    prefix = "artifacts/t/denoise/key/checkpoint/cpu/"
    StoredCheckpoints(store, prefix, lease=1).save(Checkpoint(9, b"nine"))
    own = StoredCheckpoints(store, prefix, lease=2)
    for step in (10, 11, 12):
        own.save(Checkpoint(step, b"own"))
    assert own.latest() == Checkpoint(12, b"own")
    assert sorted(int(key.rpartition("/")[2].split("-")[0]) for key in store.list(prefix)) == [9, 11, 12]


def test_a_store_that_is_away_is_unavailable_and_not_empty(server: Server) -> None:
    [port] = choose([0])
    away = ArtifactStore.connect(f"{HOST}:{port}", server.access_key, server.secret_key, "conformance")
    away.attempts = 2
    assert not away.is_reachable()
    with pytest.raises(StoreUnavailable):
        away.find(FOLDER)


def test_a_wrong_key_is_unavailable_and_not_a_conflict(server: Server) -> None:
    name = server.new_store().bucket
    stranger = ArtifactStore.connect(server.endpoint, server.access_key, "wrong-secret-key", name)
    stranger.attempts = 1
    with pytest.raises(StoreUnavailable):
        stranger.write_if(PLACE, b"data", None, "manifest")
