"""The real coordinator with a defect: it never gets done with a prompt that says so. `python -m ... `, as a service."""

from __future__ import annotations

import sys
import time
from typing import Any

from runtime.settings import Settings
from streams.coordinator.core import intake
from streams.coordinator.service import run_coordinator

HANG = "hang, please"


def main() -> int:
    submit = intake.submit

    def hanging(ledger: Any, policy: Any, asked: Any, *more: Any, **named: Any) -> Any:
        while asked.prompt == HANG:
            time.sleep(0.01)
        return submit(ledger, policy, asked, *more, **named)

    intake.submit = hanging
    return run_coordinator(Settings())


if __name__ == "__main__":
    sys.exit(main())
