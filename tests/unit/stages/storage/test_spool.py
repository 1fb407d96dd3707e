"""Results that wait on local disk: whole or not there, compared with their digests, bounded, owned by one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.events.tasks import Task
from schemas.stage import Stage
from stages.contract import Blob, Output
from stages.results import Made
from stages.storage.spool import Spool, SpoolCorrupt, SpoolFull
from tests.unit.streams.usage.test_reducers import RECIPE

LIMIT = 1000


def made(lease: int = 7, size: int = 100) -> Made:
    task = Task(
        incarnation="i", lease=lease, job="job", tenant="t", stage=Stage.DENOISE, key="key", recipe=RECIPE, attempt=1
    )
    output = Output((Blob("latents", b"x" * size), Blob("note", b"n", "text/plain")), {"steps": 4}, 2)
    return Made(task, output, "cpu", {"compute": 1.5})


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", LIMIT)


def test_what_is_saved_comes_back_in_another_life(spool: Spool) -> None:
    spool.save(made(), "00-trace")
    later = Spool(spool.folder, LIMIT)
    assert later.leases() == [7]
    entry = later.entry(7)
    assert entry.traceparent == "00-trace"
    assert later.made(entry) == made()
    later.remove(7)
    assert (later.leases(), later.used) == ([], 0)


def test_an_entry_is_there_whole_or_not_at_all(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stages.storage.spool.write_durably", full)
    with pytest.raises(SpoolFull, match="No space left"):
        spool.save(made())
    assert list(spool.folder.iterdir()) == []


def test_what_a_killed_writer_left_is_no_entry_and_is_removed(spool: Spool) -> None:
    (spool.folder / "9.part").mkdir(parents=True)
    assert spool.leases() == []
    spool.clear_parts()
    assert list(spool.folder.iterdir()) == []


def test_a_full_spool_says_what_to_do_and_keeps_what_it_has(spool: Spool) -> None:
    spool.save(made(1, 100))
    with pytest.raises(SpoolFull, match="raise LATENTLINE_SPOOL_MAX_BYTES") as refused:
        spool.save(made(2, LIMIT))
    assert not refused.value.report().retry.costs_attempt
    assert spool.leases() == [1]


@pytest.mark.parametrize("file", ["entry.json", None])
def test_a_torn_entry_is_found(spool: Spool, file: str | None) -> None:
    spool.save(made())
    entry = spool.entry(7)
    torn = spool.folder / "7" / (file or entry.objects[0].key)
    torn.write_bytes(torn.read_bytes()[:-1])
    with pytest.raises(SpoolCorrupt, match="lease 7"):
        spool.made(spool.entry(7))


def test_one_process_owns_it(spool: Spool) -> None:
    other = Spool(spool.folder, LIMIT)
    assert spool.own()
    assert spool.own()
    assert not other.own()
    spool.disown()
    assert other.own()
    other.disown()
