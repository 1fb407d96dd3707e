"""A store that is away, slow, refusing, cut off in mid-upload: nothing half is visible, nothing is computed twice."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.settings import Settings
from schemas.errors import StoreUnavailable
from stages.contract import Blob
from stages.execution.execute import Undelivered, deliver
from stages.storage.artifacts import ArtifactStore
from stages.storage.spool import Spool
from streams.worker.loop.uploader import Uploaded, Uploader, UploadFailed
from tests.proxy import Proxy
from tests.store.test_execute import Shout, content, done, task

FOLDER = "artifacts/t/encode/key-1"
LARGE = Blob("large", bytes(range(256)) * 32 * 1024)


@pytest.fixture
def proxy(line: Settings) -> Iterator[Proxy]:
    with Proxy(line.store_endpoint) as proxy:
        yield proxy


def connected(line: Settings, endpoint: str) -> ArtifactStore:
    secret = line.store_secret_key.get_secret_value()
    return ArtifactStore.connect(endpoint, line.store_access_key, secret, line.store_bucket)


@pytest.fixture
def behind(line: Settings, proxy: Proxy) -> ArtifactStore:
    """The store as it is seen through the proxy."""
    return connected(line, proxy.address)


@pytest.fixture
def store(line: Settings) -> ArtifactStore:
    return connected(line, line.store_endpoint)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 10**9)


def test_an_upload_that_is_cut_off_is_begun_anew(behind: ArtifactStore, proxy: Proxy) -> None:
    proxy.cuts, proxy.cut_after = 1, 1024 * 1024
    ref = behind.put(FOLDER, LARGE)
    assert proxy.cuts == 0
    assert behind.digest_of(ref.key) == ref.sha256


def test_of_an_upload_that_never_ends_nothing_is_visible(
    behind: ArtifactStore, store: ArtifactStore, proxy: Proxy
) -> None:
    proxy.cuts, proxy.cut_after = 100, 1024 * 1024
    with pytest.raises(StoreUnavailable):
        behind.put(FOLDER, LARGE)
    assert store.list("artifacts/") == []


@pytest.mark.parametrize("status", [500, 503])
def test_a_burst_of_refusals_is_waited_out(behind: ArtifactStore, proxy: Proxy, status: int) -> None:
    proxy.refusals, proxy.status = 3, status
    assert not done(behind, task(1), Shout()).reused
    assert proxy.refusals == 0


def test_a_slow_store_is_waited_for(behind: ArtifactStore, proxy: Proxy) -> None:
    proxy.delay = 0.2
    assert not done(behind, task(1), Shout()).reused
    assert done(behind, task(2), Shout()).reused


def computed_while_away(behind: ArtifactStore, proxy: Proxy, lease: int = 1) -> Undelivered:
    """What a task ends with when the store goes away while it computes."""

    class Last(Shout):
        def run(self, *arguments: object) -> object:  # type: ignore[override]
            proxy.away = True
            return super().run(*arguments)  # type: ignore[arg-type]

    with pytest.raises(Undelivered) as caught:
        done(behind, task(lease), Last())
    return caught.value


def test_what_was_computed_is_delivered_when_the_store_is_back(
    behind: ArtifactStore, store: ArtifactStore, proxy: Proxy, spool: Spool
) -> None:
    spool.save(computed_while_away(behind, proxy).made)
    assert store.list("artifacts/") == []
    proxy.away = False
    result = deliver(store, spool.made(spool.entry(1)))
    assert content(store, result) == b"QUIET"
    assert done(store, task(2), Shout()).artifact == result.artifact


def test_the_uploader_puts_up_what_is_parked_once_and_keeps_it_until_told(
    line: Settings, behind: ArtifactStore, proxy: Proxy, spool: Spool
) -> None:
    spool.save(computed_while_away(behind, proxy).made)
    events: queue.SimpleQueue[Uploaded | UploadFailed] = queue.SimpleQueue()
    uploader = Uploader(spool, connected(line, proxy.address), events.put)
    try:
        proxy.away = False
        event = events.get(timeout=30)
        assert isinstance(event, Uploaded)
        assert (event.lease, event.result.reused) == (1, False)
        assert spool.leases() == [1]
        uploader.drop(1)
    finally:
        uploader.close()
    assert spool.leases() == []
    assert events.empty()


def test_the_uploader_gives_up_what_is_torn(
    behind: ArtifactStore, store: ArtifactStore, proxy: Proxy, spool: Spool
) -> None:
    spool.save(computed_while_away(behind, proxy).made)
    torn = spool.folder / "1" / spool.entry(1).objects[0].key
    torn.write_bytes(b"quiEt")
    events: queue.SimpleQueue[Uploaded | UploadFailed] = queue.SimpleQueue()
    uploader = Uploader(spool, store, events.put)
    try:
        assert events.get(timeout=30) == UploadFailed(1)
    finally:
        uploader.close()


def test_a_dead_store_is_not_asked_in_a_hot_loop(behind: ArtifactStore, proxy: Proxy) -> None:
    behind.find(FOLDER)
    proxy.away, before = True, proxy.connections
    with pytest.raises(StoreUnavailable):
        behind.find(FOLDER)
    calls, end = 0, time.monotonic() + 3
    while time.monotonic() < end:
        calls += 1
        with pytest.raises(StoreUnavailable):
            behind.find(FOLDER)
    assert calls > 1000
    assert proxy.connections - before <= 12
