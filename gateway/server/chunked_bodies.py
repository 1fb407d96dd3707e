"""Bodies in chunks: few enough that taking them apart holds up nobody.

h11 makes an event of each chunk, and uvicorn takes all of them that have arrived in one turn of the event loop: a
quarter of a megabyte in chunks of one byte held it for a second.
"""

from __future__ import annotations

import h11

MOST_CHUNKS = 4096


class Connection(h11.Connection):
    """An HTTP/1.1 connection of a server that ends a request of more chunks than that."""

    def __init__(self, largest_head: int) -> None:
        super().__init__(h11.SERVER, largest_head)
        self._chunks = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Raises `h11.RemoteProtocolError`."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = 0
        elif isinstance(event, h11.Data) and event.chunk_end:
            self._chunks += 1
            if self._chunks > MOST_CHUNKS:
                raise h11.RemoteProtocolError(f"a body has at most {MOST_CHUNKS} chunks")
        return event
