"""What an earlier life of a stack has left running: its supervisor and the guard were killed together.

Each process carries its own record in its environment: the mark `DATA/LIFE/NAME/`, LIFE being 32 random hex digits.
No file has to have survived for them to be found, a copy of the folder is another stack, a process that was given the
pid of a former one has no such mark, and nothing is ever looked for by its name.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path

import psutil

from infra.local.reaper import mark_of

ENDED_WITHIN_S = 30.0


def leftovers(data: Path) -> list[psutil.Process]:
    """Every process of any life of the stack in this folder, and of no stack in a folder below it."""
    life = "[0-9a-f]{32}/"
    wanted = re.compile(f"{re.escape(str(data.resolve()))}/{life}(?!{life})")
    return [process for process in psutil.process_iter() if wanted.match(mark_of(process))]


def end_leftovers(data: Path, seconds: float = ENDED_WITHIN_S) -> tuple[int, list[psutil.Process]]:
    """SIGKILL them: how many have ended, and which have not within `seconds`. Only for a stack without supervisor."""
    seen: set[psutil.Process] = set()
    deadline = time.monotonic() + seconds
    while left := leftovers(data):
        seen.update(left)
        if time.monotonic() > deadline:
            break
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=1.0)
    return len(seen.difference(left)), left
