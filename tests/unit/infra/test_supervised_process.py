"""A process under watch: one that dies comes back and is told how it died, one that leaves stays away."""

from __future__ import annotations

import errno
import os
import sys
import uuid
from pathlib import Path

import pytest

from infra.local.process import Process
from infra.local.supervised_process import FIRST_DELAY, SupervisedProcess
from tests.support import eventually

LONG = 1000.0


def kept(folder: Path, program: str) -> SupervisedProcess:
    argv = [sys.executable, "-c", program]
    return SupervisedProcess(Process("little", argv, folder / "little.log", f"tests/{uuid.uuid4().hex}/"))


def run_to_its_end(one: SupervisedProcess, now: float = 0.0) -> None:
    assert one.turn(now)
    eventually(lambda: one.turn(now))


def test_the_next_life_is_told_how_this_one_ended(tmp_path: Path) -> None:
    died = "import os; print('the last words', flush=True); os.kill(os.getpid(), 9)"
    first_time = f"import os; print(os.environ.get('LATENTLINE_LAST_END'), flush=True)\n{died}"
    one = kept(tmp_path, first_time)
    run_to_its_end(one)
    assert (one.last_exit, one.restarts) == (-9, 1)
    run_to_its_end(one, LONG)
    said = (tmp_path / "little.log").read_text().splitlines()
    assert said[:3] == ["None", "the last words", "ended by SIGKILL; its log ends with:"]


def test_one_that_leaves_on_purpose_stays_away(tmp_path: Path) -> None:
    one = kept(tmp_path, "raise SystemExit(0)")
    run_to_its_end(one)
    assert not one.turn(LONG)
    assert (one.last_exit, one.restarts) == (0, 0)


def test_one_that_cannot_be_started_now_is_started_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = kept(tmp_path, "import sys; sys.stdin.read()")

    def no_room(process: Process) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(Process, "start", no_room)
        assert not one.turn(0.0)
        assert not one.turn(FIRST_DELAY)
    assert not one.turn(FIRST_DELAY + 0.1), "it waits longer after each refusal"
    assert one.turn(LONG)
    assert (one.restarts, one.last_exit) == (0, None)
    one.process.stop(5)
