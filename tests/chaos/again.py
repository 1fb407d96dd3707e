"""A service of the line that is started again however it ends, also when it was told to leave."""

from __future__ import annotations

import sys

from latentline.main import main

LEFT = 75

if __name__ == "__main__":
    try:
        main()
    except SystemExit as end:
        sys.exit(end.code or LEFT)
