"""Which stacks run on this machine: found by their keepers' command lines, so that no register can be stale."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import ValidationError

from infra.local.plan import Plan

KEEPER = "infra.local.supervisor"


def kept_folder(process: psutil.Process) -> Path | None:
    """The data folder that this process keeps; None when it is no keeper, or has ended."""
    with suppress(psutil.Error):
        argv = process.cmdline()
        if argv[1:3] == ["-m", KEEPER]:
            return Path(argv[3])
    return None


def is_keeper(pid: int, data: Path) -> bool:
    """Whether that process is the keeper of this folder: pids are used again after a crash or a reboot."""
    with suppress(psutil.Error):
        return kept_folder(psutil.Process(pid)) == data.resolve()
    return False


def keeper_of(data: Path) -> int | None:
    """The process that keeps this folder, whatever it could write of itself; None when nobody does."""
    wanted = data.resolve()
    return next((process.pid for process in psutil.process_iter() if kept_folder(process) == wanted), None)


def plans() -> list[Plan]:
    """Of every running stack whose folder can be read."""
    found = []
    for folder in filter(None, map(kept_folder, psutil.process_iter())):
        with suppress(OSError, ValidationError):
            found.append(Plan.load(folder))
    return found
