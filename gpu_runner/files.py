"""The files of a model: their digests, and whether they are still the ones that a description was written for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from schemas.digest import digest

HASHED_AT_ONCE = min(4, os.cpu_count() or 1)
"""A thread hashes one to two gigabytes a second, less than a local disk reads."""
WORTH_THREADS = 256 * 1024**2
"""Bytes from which threads are worth the address space that each of them takes."""


class WrongWeights(ValueError):
    """A file that determines a model's output is not the one that its description was written for."""


def file_digest(file: Path) -> str:
    """Hex SHA-256, read in pieces: a shard of weights is gigabytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def file_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Path within `folder` to digest, of every file of the named components."""
    files = sorted(file for name in names for file in (folder / name).rglob("*") if file.is_file())
    size = sum(file.stat().st_size for file in files)
    with ThreadPoolExecutor(HASHED_AT_ONCE) as threads:
        hashed = list((threads.map if size >= WORTH_THREADS else map)(file_digest, files))
    return {str(file.relative_to(folder)): each for file, each in zip(files, hashed, strict=True)}


def component_digest(files: Mapping[str, str]) -> str:
    """Digest over path and content of every file of a component."""
    return digest([[path, files[path]] for path in sorted(files, key=Path)])


def check_files(folder: Path, names: Iterable[str], described: Mapping[str, str], expected: str) -> None:
    """Hash the files of the named components. Raises `WrongWeights` unless they are those of the digest `expected`.

    `described`: digests of single files, where the description has them; it is what names the file.
    """
    found = file_digests(folder, names)
    if component_digest(found) == expected:
        return
    wanted = {path: hashed for path, hashed in described.items() if path.split("/")[0] in set(names)}
    wrong = [path for path in sorted(found.keys() | wanted.keys()) if found.get(path) != wanted.get(path)]
    named = (
        f"{wrong[0]} is {state_of(wrong[0], found, wanted)}"
        if wanted and wrong
        else f"a file of {', '.join(names)} is another one"
    )
    raise WrongWeights(
        f"{named} in {folder}: it is not the model that its description was written for. Put the described files back, "
        "or describe the model anew (python -m gpu_runner.describe), everywhere in the line"
    )


def state_of(path: str, found: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    if path not in found:
        return "missing"
    return "not described" if path not in wanted else "another file"
