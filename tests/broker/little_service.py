"""A service as small as one can be, for tests of the stack: `python -m tests.broker.little_service [WISH]`."""

from __future__ import annotations

import signal
import subprocess
import sys

from runtime import health, metrics
from runtime.settings import Settings


def main(wish: str) -> int:
    """Ready at once and until SIGTERM. `fail` ends with 3 instead; `never` is never ready; `parent` has a child."""
    settings = Settings()
    if wish == "fail":
        print("nothing works today", file=sys.stderr)
        return 3
    if wish == "parent":
        subprocess.Popen(["sleep", f"{settings.metrics_port + 600}"], start_new_session=True)
    # Blocked before the health server's threads exist, so that none of them takes the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with health.serve(settings, metrics.registry_of("views"), lambda: "resting" if wish == "never" else None):
        signal.sigwait({signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or [""]))
