"""A service of the line that is started again however it ends, also when it was told to leave.

It knows the store by the address of the relay that a chaos run puts before it.
"""

from __future__ import annotations

import os
import sys

LEFT = 75
STORE = "LATENTLINE_CHAOS_STORE"

if __name__ == "__main__":
    os.environ["LATENTLINE_STORE_ENDPOINT"] = os.environ[STORE]
    from latentline.main import main

    try:
        main()
    except SystemExit as end:
        sys.exit(end.code or LEFT)
