"""Install the official clients, or those that are named."""

from __future__ import annotations

import sys

from tests.clients import OFFICIAL, PINS, install

for name in sys.argv[1:] or OFFICIAL:
    install(name)
    print(f"{PINS[name]} is there")
