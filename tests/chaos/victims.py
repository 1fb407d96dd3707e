"""The processes of a running stack, and what a fault does to them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.request import urlopen

import psutil

from infra.local.stack import Stack
from tests.chaos.schedule import WORKERS, Fault

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}
COORDINATORS = ("coordinator", "coordinator-2")
ACTIVE = 'latentline_coordinator_state{state="active"} 1.0'


@dataclass(frozen=True)
class Hit:
    """A fault that has hit: when (unix seconds), whom, and which processes."""

    fault: Fault
    at: float
    victims: tuple[str, ...]
    pids: tuple[int, ...]


def strike(stack: Stack, fault: Fault, now: float) -> Hit | None:
    """None when there is nobody to hit just now: a victim that is being started again has no process yet."""
    names = names_of(stack, fault)
    found = [process for name in names for process in processes(stack, name, fault.kind.what)]
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(SIGNALS[fault.kind.how])
    return Hit(fault, now, names, tuple(process.pid for process in found)) if found else None


def resume(hit: Hit) -> None:
    """SIGCONT to what was stopped, if it still lives."""
    for pid in hit.pids:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).send_signal(signal.SIGCONT)


def names_of(stack: Stack, fault: Fault) -> tuple[str, ...]:
    """Two at once may be one and the same: then it is one."""
    workers = tuple(dict.fromkeys(WORKERS if fault.kind.what == "all workers" else fault.workers))
    if fault.kind.what == "coordinator and worker":
        return (*coordinators(stack, active=True), *workers)
    if fault.kind.what in ("coordinator", "standby"):
        return coordinators(stack, active=fault.kind.what == "coordinator")
    return workers or (fault.kind.what,)


def coordinators(stack: Stack, active: bool) -> tuple[str, ...]:
    return tuple(name for name in COORDINATORS if is_active(stack, name) is active)[:1]


def is_active(stack: Stack, name: str) -> bool | None:
    """None when it does not say."""
    url = stack.status()["health"][name].replace("/healthz", "/metrics")
    try:
        with urlopen(url, timeout=1) as answer:
            return ACTIVE in answer.read().decode()
    except OSError:
        return None


def processes(stack: Stack, name: str, what: str) -> Iterator[psutil.Process]:
    with suppress(psutil.NoSuchProcess, KeyError):
        process = psutil.Process(stack.status()["pids"][name])
        if what != "compute child":
            yield process
        else:
            yield from compute_children(process)


def compute_children(worker: psutil.Process) -> Iterator[psutil.Process]:
    """What the fork server of a worker has forked."""
    for server in worker.children():
        if "multiprocessing.forkserver" in " ".join(server.cmdline()):
            yield from server.children()
