"""A loop that does not turn ends its process; a process that was only stopped goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.settings import Settings
from runtime.watchdog import Silence, Turns, report_of
from tests.support import eventually

STUCK_AFTER_S = 0.6
PROGRAM = """
import re, sys, time
from runtime import logs
from runtime.settings import Settings
from runtime.watchdog import Turns, Watchdog

def hold_the_lock(tenants_words):
    re.match("(a+)+$", "a" * 60 + "b")

def spin(tenants_words):
    while True:
        time.sleep(0.01)

settings, turns = Settings(), Turns("worker")
logs.configure(settings, "worker")
with Watchdog(settings, "worker", [turns]):
    print("begun", flush=True)
    for _ in range(20):
        turns.turned()
        time.sleep(0.1)
    if sys.argv[1:]:
        globals()[sys.argv[1]]("a red circle")
print("left")
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ, "LATENTLINE_STUCK_AFTER_S": str(STUCK_AFTER_S), "LATENTLINE_DATA_DIR": str(folder),
        "LATENTLINE_WORKER_NAME": "stuck", "LATENTLINE_LOG_FORMAT": "json",
    }  # fmt: skip
    argv = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("hang", "code"), [("spin", 1), ("hold_the_lock", -signal.SIGPROF)])
def test_a_loop_that_hangs_ends_its_process_and_leaves_the_stack(hang: str, code: int, tmp_path: Path) -> None:
    """Also one that holds the interpreter's lock, so that no thread of Python can do anything about it."""
    process = start(tmp_path, hang)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, errors
    settings = Settings(data_dir=tmp_path, worker_name="stuck")
    report = report_of(settings, "worker").read_text()
    assert f"in {hang}" in report
    assert "a red circle" not in report + errors.partition(PROGRAM)[2]
    after = start(tmp_path)
    _, errors = after.communicate(timeout=60)
    assert after.returncode == 0
    assert "the former life of this process did not turn" in errors
    assert report_of(settings, "worker").read_text() == "", "the next life has nothing to tell"


def test_a_process_that_was_stopped_goes_on(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGSTOP)
    since = time.monotonic()
    eventually(lambda: time.monotonic() - since > 3 * STUCK_AFTER_S)
    process.send_signal(signal.SIGCONT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "left\n"), errors


def test_silence_counts_only_while_somebody_could_look() -> None:
    turns = Turns("worker")
    silence = Silence([turns], stuck_after=60.0)
    turns.turned()
    assert silence.look(0.0) is None
    assert silence.look(3600.0) is None, "the machine slept"
    assert [now for now in range(3602, 3700, 2) if silence.look(float(now))][:1] == [3642]


def test_a_loop_is_watched_from_its_first_turn_and_each_turn_begins_anew() -> None:
    turns = Turns("worker")
    silence = Silence([turns], stuck_after=10.0)
    assert [silence.look(float(now)) for now in range(0, 40, 2)] == [None] * 20
    for now in range(40, 140, 2):
        turns.turned()
        assert silence.look(float(now)) is None


def test_a_process_whose_loop_is_slow_says_so_before_it_is_ended() -> None:
    turns = Turns("feed")
    assert turns.reason(stuck_after=60.0) is None
    turns.turned()
    turns.at -= 16
    assert turns.reason(stuck_after=60.0) == "feed: no turn for 15 s"
