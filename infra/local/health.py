"""Whether a service is ready, and why not."""

from __future__ import annotations

import urllib.error
import urllib.request

WARNING = "warning: "


def warnings(url: str, timeout: float = 2.0) -> list[str]:
    """What a ready service says that somebody has to see to; nothing while it is not ready."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            lines = answer.read(10_000).decode(errors="replace").splitlines()
    except OSError:
        return []
    return [line.removeprefix(WARNING) for line in lines if line.startswith(WARNING)]


def unready(url: str, timeout: float = 2.0) -> str | None:
    """None when it answers 200; else the reason in its own words, or that it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=timeout):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return error.read(500).decode(errors="replace").strip() or f"it answers {error.code}"
    except OSError:
        return "nobody answers at its port"
