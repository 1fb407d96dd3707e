"""Files that only their owner reads."""

from __future__ import annotations

import os
from pathlib import Path

MODE, FOLDER_MODE = 0o600, 0o700


def write_private(file: Path, data: bytes) -> None:
    """A whole file that was never readable by others; where it cannot be written, what was there stays."""
    partial = file.with_name(f"{file.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb") as opened:
            opened.write(data)
        partial.replace(file)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
