"""How much a tenant may send of anything: checked before any work whose cost grows with it.

The gateway does the work of a request on its event loop and the coordinator that of a record in its core, so what
either costs is bounded here, whoever sent it. Bounds of a model are in its `Limits`.
"""

from __future__ import annotations

LARGEST_BODY_BYTES = 64 * 1024
"""Of a request, files aside. What a client sends beyond it is counted and thrown away, not kept."""

MOST_FIELDS = 100
"""Fields of a form, or keys and values of a JSON body at any depth."""

DEEPEST = 4
"""How far a field of a form, or a JSON body, may nest."""

MOST_JSON_MARKS = 65536
"""Commas, colons and brackets of a record, which bound how many values its JSON can have: a heartbeat that lists
thousands of leases has as many."""

LONGEST_HEADER_BYTES = 2048
"""Of a record's header that is read."""

RAW_CHARACTERS = 4
"""Characters that a text may have for each that its model allows: white space and accents take fewer once cleaned."""

LONGEST_MARK_RUN = 30
"""Combining marks on one character, as in the stream-safe format of UAX #15: sorting them is quadratic in their number,
and no language has more."""

MOST_METADATA = 16
"""Names of a job's metadata."""
