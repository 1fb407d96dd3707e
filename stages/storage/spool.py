"""Finished work that waits on local disk for the store: one folder a lease, there whole or not at all.

    {folder}/{lease}/entry.json     the task, what its manifest will say, the objects with size and digest
    {folder}/{lease}/{sha256}       the objects
    {folder}/{lease}.part           one that is being written; what a killed writer left is removed by the next life
    {folder}/lock                   held by the one process that puts entries up

A worker's compute child saves; its stream process reads, delivers and removes. No tensor, no Kafka.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import orjson
from pydantic import ValidationError

from schemas.base import Frozen
from schemas.digest import sha256
from schemas.errors import LatentlineError, StoreUnavailable
from schemas.events.artifacts import ObjectRef
from schemas.events.tasks import Task
from stages.contract import Blob, Output
from stages.results import Made

ENTRY, PART = "entry.json", ".part"


class SpoolFull(StoreUnavailable):
    """The output could not be kept: its stage runs again once the store is back, at the cost of no attempt."""


class SpoolCorrupt(LatentlineError):
    """An entry is torn, or does not match its digests."""


class Entry(Frozen):
    """What `entry.json` says. `objects` are keyed by the file beside it."""

    task: Task
    traceparent: str | None = None
    objects: tuple[ObjectRef, ...]
    facts: dict[str, str | int | float | bool]
    resumed_from_step: int | None = None
    bit_class: str
    timings: dict[str, float]


@dataclass
class Spool:
    """The spool of one worker, by name. `limit`: bytes of all entries together."""

    folder: Path
    limit: int
    _lock: IO[str] | None = field(default=None, repr=False)

    # -- whoever computes ----------------------------------------------------------------------------------------

    def save(self, made: Made, traceparent: str | None = None) -> None:
        """Durable when it returns. Raises `SpoolFull`, also where the disk has no room."""
        size = sum(len(blob.data) for blob in made.output.objects)
        if size + self.used > self.limit:
            raise SpoolFull(
                f"the store is away, and the {size} bytes of this result do not fit beside the {self.used} that wait "
                f"in {self.folder}, limited to {self.limit}: raise LATENTLINE_SPOOL_MAX_BYTES, or mend the store"
            )
        lease = str(made.task.lease)
        part = self.folder / f"{lease}{PART}"
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            self._write(part, made, traceparent)
            part.rename(self.folder / lease)
            sync(self.folder)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise SpoolFull(f"the store is away, and this result cannot be kept in {self.folder}: {error}") from error

    def _write(self, part: Path, made: Made, traceparent: str | None) -> None:
        objects = tuple(
            ObjectRef(name=blob.name, key=(digest := sha256(blob.data)), size=len(blob.data), sha256=digest,
                      media_type=blob.media_type)
            for blob in made.output.objects
        )  # fmt: skip
        entry = Entry(
            task=made.task, traceparent=traceparent, objects=objects, facts=dict(made.output.facts),
            resumed_from_step=made.output.resumed_from_step, bit_class=made.bit_class, timings=dict(made.timings),
        )  # fmt: skip
        for ref, blob in zip(objects, made.output.objects, strict=True):
            write_durably(part / ref.key, blob.data)
        write_durably(part / ENTRY, entry.to_bytes())
        sync(part)

    # -- whoever delivers ----------------------------------------------------------------------------------------

    def own(self) -> bool:
        """Whether this process has the spool to itself now, until it ends. Never waits."""
        if self._lock is not None:
            return True
        self.folder.mkdir(parents=True, exist_ok=True)
        file = (self.folder / "lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._lock = file
        return True

    def disown(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def clear_parts(self) -> None:
        """Remove what killed writers left. For a new life, before it has a child that writes."""
        for part in self.folder.glob(f"*{PART}"):
            shutil.rmtree(part, ignore_errors=True)

    def leases(self) -> list[int]:
        return sorted(int(path.name) for path in self.folder.glob("*") if path.name.isdecimal())

    def entry(self, lease: int) -> Entry:
        """Raises `SpoolCorrupt`."""
        try:
            return Entry.read((self.folder / str(lease) / ENTRY).read_bytes())
        except (OSError, ValidationError, orjson.JSONDecodeError) as error:
            raise SpoolCorrupt(f"the parked result of lease {lease} cannot be read: {error}"[:500]) from None

    def made(self, entry: Entry) -> Made:
        """The output, compared with its digests. Raises `SpoolCorrupt`."""
        blobs = tuple(self._blob(entry.task.lease, ref) for ref in entry.objects)
        return Made(entry.task, Output(blobs, entry.facts, entry.resumed_from_step), entry.bit_class, entry.timings)

    def _blob(self, lease: int, ref: ObjectRef) -> Blob:
        try:
            data = (self.folder / str(lease) / Path(ref.key).name).read_bytes()
        except OSError as error:
            raise SpoolCorrupt(f"{ref.name} of lease {lease} cannot be read: {error}") from None
        if sha256(data) != ref.sha256:
            raise SpoolCorrupt(f"{ref.name} of lease {lease} does not match its digest")
        return Blob(ref.name, data, ref.media_type)

    def remove(self, lease: int) -> None:
        shutil.rmtree(self.folder / str(lease), ignore_errors=True)

    @property
    def used(self) -> int:
        """Bytes of all entries."""
        return sum(map(size_of, self.folder.glob("*/*")))


def size_of(path: Path) -> int:
    """Bytes; 0 for what the other process has just removed."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
