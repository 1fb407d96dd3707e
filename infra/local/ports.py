"""Ports on loopback: the usual one if it is free, else any."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterable

HOST = "127.0.0.1"
ANY = range(20_000, 32_000)
"""Below the ports that kernels lend to outgoing connections: none of those can take a restarted service's port."""


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose(preferred: Iterable[int], taken: Iterable[int] = ()) -> list[int]:
    """One free port for each preferred one: itself where it can be had, else another; all different, none `taken`."""
    chosen, refused = [], set(taken)
    for port in preferred:
        chosen.append(port if port and port not in refused and is_free(port) else _any_free(refused))
        refused.add(chosen[-1])
    return chosen


def _any_free(refused: set[int]) -> int:
    candidates = (port for port in random.sample(ANY, len(ANY)) if port not in refused and is_free(port))
    return next(candidates)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


def wait_until(ready: Callable[[], bool], seconds: float, interval: float = 0.05) -> bool:
    """Poll `ready` until it holds or the time is up; which of the two."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
