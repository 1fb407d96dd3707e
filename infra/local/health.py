"""Whether a service is ready, and why not."""

from __future__ import annotations

import urllib.error
import urllib.request


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
