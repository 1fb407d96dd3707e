"""Ports on loopback: the usual one if it is free, else any."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose(preferred: list[int]) -> list[int]:
    """One free port for each preferred one: itself where free, else another; all different."""
    chosen: list[int] = []
    for port in preferred:
        chosen.append(port if port and port not in chosen and is_free(port) else _any_free(chosen))
    return chosen


def _any_free(taken: list[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


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
