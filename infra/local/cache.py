"""Where downloads and builds are kept: a user cache folder outside the checkout, shared by all clones.

Standard library alone: it also runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FetchError(RuntimeError):
    """Something that the stack needs could not be fetched or built; the message says what to do."""


def cache_path() -> Path:
    """`$XDG_CACHE_HOME/latentline`, or `~/.cache/latentline`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latentline"


def cache_folder() -> Path:
    """The folder, made when missing."""
    folder = cache_path()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """One process at a time is inside, the others wait. The kernel lets go of it when a process dies."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def filling(target: Path) -> Iterator[Path | None]:
    """Yield an empty folder that becomes `target` when the block ends well, or None where `target` exists.

    One process fills at a time, the others wait, and what exists is whole: an interrupted fill leaves nothing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.parent / f".{target.name}.lock"):
        if target.exists():
            yield None
            return
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            yield partial
            partial.chmod(0o755)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
