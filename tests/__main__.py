"""`make test`: what needs nothing and what runs on a real line, side by side. The one computes while the other waits.

What needs nothing is printed when the real line is through. The exit code is 0 if both have passed; `python -m pytest`
runs the same tests one after another.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from tempfile import TemporaryFile

NEEDS_NOTHING = ("unit", "contract", "sim", "chaos", "mutations", "runner")
PYTEST = (sys.executable, "-m", "pytest")


def main() -> int:
    folders = [f"tests/{name}" for name in NEEDS_NOTHING]
    colour = "--color=yes" if sys.stdout.isatty() else "--color=auto"
    with TemporaryFile() as printed:
        # One of them keeps pytest's cache: it is no place for two.
        beside = subprocess.Popen(
            [*PYTEST, colour, "-p", "no:cacheprovider", *folders], stdout=printed, stderr=subprocess.STDOUT
        )
        real = subprocess.Popen([*PYTEST, *(f"--ignore={folder}" for folder in folders)])
        codes = [ended(process) for process in (real, beside)]
        printed.seek(0)
        print(printed.read().decode(errors="replace"))
    return next((code for code in codes if code), 0)


def ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit code. Ctrl-C reaches it as well, and it ends what it has started before it ends itself."""
    while True:
        with suppress(KeyboardInterrupt):
            return process.wait()


if __name__ == "__main__":
    sys.exit(main())
