"""`python -m tests.mutations.run`: break each promise in a copy of the tree, and see a test fail for it.

Writes a table into docs/reliability.md. Exit code 1 if a mutation goes unnoticed. `--only WORD` and
`--no-servers` run some, and write nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.report import RELIABILITY, last_line, table, write_section
from tests.mutations.catalogue import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 300.0
WITH_SERVERS = ("tests/broker/", "tests/store/", "tests/e2e/")
FAILED = 1
"""Pytest's exit code where a test failed; others say that it did not get so far."""


@dataclass(frozen=True)
class Seen:
    """What came of a mutation. `noticed` None: pytest did not get to the test."""

    mutation: Mutation
    noticed: bool | None
    seconds: float

    @property
    def word(self) -> str:
        return {True: "yes", False: "NO", None: "the test did not run"}[self.noticed]


@contextmanager
def a_copy() -> Iterator[Path]:
    """What git tracks or would, in a temporary folder."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="latentline-mutations-") as folder:
        for name in filter(None, listing.stdout.split("\0")):
            if (ROOT / name).is_file():
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        yield Path(folder)


@contextmanager
def applied(mutation: Mutation, folder: Path) -> Iterator[None]:
    file = folder / mutation.file
    text = file.read_text()
    file.write_text(mutated(text, mutation))
    try:
        yield
    finally:
        file.write_text(text)


def mutated(text: str, mutation: Mutation) -> str:
    """Raises `ValueError` where the table no longer fits the code."""
    found = text.count(mutation.old)
    if found != 1:
        raise ValueError(f"{mutation.breaks}: its text is {found} times in {mutation.file}, not once")
    return text.replace(mutation.old, mutation.new)


def pytest(folder: Path, tests: Iterable[str]) -> int:
    """Its exit code. Bytecode is not kept: a file that is changed and changed back within a second looks unchanged."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, timeout=DEADLINE_S, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ).returncode  # fmt: skip
    except subprocess.TimeoutExpired:
        return FAILED


def look(mutation: Mutation, folder: Path) -> Seen:
    start = time.monotonic()
    with applied(mutation, folder):
        code = pytest(folder, [mutation.test])
    seen = Seen(mutation, {0: False, FAILED: True}.get(code), time.monotonic() - start)
    print(f"{seen.seconds:6.1f} s  {seen.word:4s} {mutation.breaks}", file=sys.stderr, flush=True)
    return seen


def page(seen: list[Seen]) -> str:
    rows = [(one.mutation.breaks, f"`{one.mutation.file}`", f"`{one.mutation.test}`", one.word) for one in seen]
    return table(("what is broken on purpose", "in", "the test that notices", "noticed"), rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="those whose words or file contain this")
    parser.add_argument("--no-servers", action="store_true", help="those whose tests start no broker and no store")
    asked = parser.parse_args()
    chosen = [each for each in MUTATIONS if asked.only in each.breaks or asked.only in each.file]
    if asked.no_servers:
        chosen = [each for each in chosen if not each.test.startswith(WITH_SERVERS)]
    with a_copy() as folder:
        if pytest(folder, sorted({mutation.test for mutation in chosen})):
            print("the tests fail on the code as it is: nothing can be said", file=sys.stderr)
            return 1
        seen = [look(mutation, folder) for mutation in chosen]
    noticed = sum(one.noticed is True for one in seen)
    if len(chosen) == len(MUTATIONS):
        write_section("Mutations", "make mutations", page(seen), page=RELIABILITY)
    print(last_line({"mutations": len(seen), "noticed": noticed}))
    return 0 if noticed == len(seen) else 1


if __name__ == "__main__":
    sys.exit(main())
