"""What a stack says where it cannot write, and what it recognises of an earlier life; no server runs."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from infra.local import supervisor as keeper_module
from infra.local.leftover_processes import end_leftovers, leftovers
from infra.local.minio import Credentials
from infra.local.plan import Plan
from infra.local.reaper import MARK
from infra.local.stack import Stack, StackError
from infra.local.supervisor import Keeper
from tests.support import eventually


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may write in, root neither."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], capture_output=True).returncode == 0:
        yield folder
        subprocess.run(["umount", "-l", folder], check=True)
    elif os.geteuid():
        folder.chmod(0o500)
        yield folder
    else:
        pytest.skip("root without the right to mount may write anywhere")


def no_room(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sleeping(mark: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**os.environ, MARK: mark})


def test_a_folder_that_cannot_be_written_is_named_in_plain_words(read_only: Path) -> None:
    for data in (read_only, read_only / "below"):
        with pytest.raises(StackError, match=f"cannot write in {data}: .*LATENTLINE_DATA_DIR"):
            Stack(data).up(())
        assert Stack(data).down() == 0


def test_a_file_in_the_place_of_the_folder_is_named_in_plain_words(tmp_path: Path) -> None:
    data = tmp_path / "file"
    data.write_text("mine")
    with pytest.raises(StackError, match=f"cannot write in {data}: Not a directory"):
        Stack(data).up(())
    with pytest.raises(StackError, match=f"cannot write in {data}"):
        Stack(data).down(wipe=True)
    assert data.read_text() == "mine"


def test_a_cache_that_cannot_be_written_is_named_in_plain_words(
    read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(read_only))
    with pytest.raises(StackError, match=f"cannot write in {read_only}/latentline: .*XDG_CACHE_HOME"):
        Stack(tmp_path / "data").up(())


def test_a_secure_line_without_a_plan_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "plan.json").write_text("")
    with pytest.raises(StackError, match="name its tenants again"):
        Stack(tmp_path).up((), any_ports=True)


def test_what_there_was_stays_where_a_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan.draw(tmp_path, (), any_ports=True)
    plan.save()
    credentials = Credentials.of(tmp_path / "credentials")
    monkeypatch.setattr(Path, "replace", no_room)
    for write in (plan.save, lambda: Credentials.of(tmp_path / "others")):
        with pytest.raises(OSError, match="No space left"):
            write()
    monkeypatch.undo()
    assert Plan.load(tmp_path) == plan
    assert Credentials.of(tmp_path / "credentials") == credentials
    assert Credentials.of(tmp_path / "others").access_key == "latentline"
    assert not list(tmp_path.glob("*.partial"))


def test_a_status_that_cannot_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plan = Plan.draw(tmp_path, (), any_ports=True)
    plan.save()
    keeper = Keeper(plan)
    with monkeypatch.context() as full, caplog.at_level(logging.WARNING):
        full.setattr(keeper_module, "write_private", no_room)
        for _ in range(3):
            keeper.report("running")
            keeper._turn()
    assert [record.message.partition(":")[0] for record in caplog.records] == ["the status cannot be written"]
    eventually(lambda: turned(keeper) and (tmp_path / "stack.json").exists())
    assert orjson.loads((tmp_path / "stack.json").read_bytes())["state"] == "running"
    keeper.guard.close()


def turned(keeper: Keeper) -> bool:
    keeper._turn()
    return True


def test_what_an_earlier_life_left_is_known_by_its_mark_alone(tmp_path: Path) -> None:
    life, data = uuid.uuid4().hex, tmp_path / "data"
    data.mkdir()
    ours = sleeping(f"{data}/{life}/little/")
    others = [
        sleeping(mark)
        for mark in (
            f"{data}/below/{life}/little/", f"{data}2/{life}/little/", f"/elsewhere{data}/{life}/little/",
            f"{data}/{life}/{life}/little/", "", str(data),
        )
    ]  # fmt: skip
    try:
        eventually(lambda: [one.pid for one in leftovers(data)] == [ours.pid])
        assert end_leftovers(data) == (1, [])
        ours.wait(10)
        assert [one.poll() for one in others] == [None] * len(others)
        assert end_leftovers(data) == (0, [])
    finally:
        for one in (ours, *others):
            one.kill()
            one.communicate()


def test_one_supervisor_keeps_a_folder(tmp_path: Path) -> None:
    Plan.draw(tmp_path, (), any_ports=True).save()
    with (tmp_path / "keeper.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.run(
            [sys.executable, "-m", "infra.local.supervisor", str(tmp_path)], capture_output=True, text=True, timeout=60
        )
    assert second.returncode == 1
    assert f"another process keeps the stack in {tmp_path}" in second.stderr
    assert not (tmp_path / "stack.json").exists()
