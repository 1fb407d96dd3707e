"""The broker's jars, each held to the sha256 in `kafka.sha256`: what a registry hands out otherwise is not run.

`sha256sum --check` reads the same file. `python -m infra.local.jars FOLDER` writes it anew, for another version.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from infra.local.cache import FetchError

LOCK = Path(__file__).with_name("kafka.sha256")


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of each jar there, by name."""
    return {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in sorted(folder.glob("*.jar"))}


def locked_digests() -> dict[str, str]:
    return {name: digest for digest, name in (line.split() for line in LOCK.read_text().splitlines())}


def verify(folder: Path) -> None:
    """Raises `FetchError` that names the jars that are missing, not known, or not the ones that are known."""
    found, wanted = digests(folder), locked_digests()
    wrong = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    if wrong:
        raise FetchError(
            f"jars in {folder} are not those of {LOCK.name}: {', '.join(wrong)}\n"
            "What to do: remove that folder and run `make setup`; if it says so again, the registry hands out other "
            "files than those that were pinned."
        )


def main(folder: Path) -> None:
    LOCK.write_text("".join(f"{digest}  {name}\n" for name, digest in digests(folder).items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
