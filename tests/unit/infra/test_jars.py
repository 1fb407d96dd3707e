"""The broker's jars are those that were pinned, or it does not start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.local import jars, kafka
from infra.local.cache import FetchError


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "jars"
    folder.mkdir()
    for name in ("a.jar", "b.jar"):
        (folder / name).write_bytes(name.encode())
    monkeypatch.setattr(jars, "LOCK", tmp_path / "kafka.sha256")
    jars.main(folder)
    return folder


def test_what_is_as_pinned_is_taken(pinned: Path) -> None:
    jars.verify(pinned)
    assert jars.LOCK.read_text().splitlines()[0].endswith("  a.jar")


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "b.jar").write_bytes(b"another"),
        lambda folder: (folder / "b.jar").unlink(),
        lambda folder: (folder / "b.jar").rename(folder / "c.jar"),
        lambda folder: (folder / "c.jar").write_bytes(b"more"),
    ],
)
def test_any_other_jar_is_refused_by_name(pinned: Path, harm: Callable[[Path], object]) -> None:
    harm(pinned)
    with pytest.raises(FetchError, match=r"[bc]\.jar"):
        jars.verify(pinned)


def test_a_fetch_of_other_jars_leaves_nothing_that_could_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kafka, "_fetch", lambda folder: (folder / "kafka_2.13-4.4.0.jar").write_bytes(b"evil"))
    with pytest.raises(FetchError, match=r"kafka_2\.13"):
        kafka.jars()
    assert not (tmp_path / "latentline" / "kafka" / kafka.VERSION).exists()


def test_the_pinned_jars_are_those_of_the_version_that_is_asked_for() -> None:
    names = jars.locked_digests()
    assert f"kafka_2.13-{kafka.VERSION}.jar" in names
    assert len(names) > 40
