"""Small frames of a video in one picture, so that a player can show what is where: a grid, row by row."""

from __future__ import annotations

import io

import av
import numpy as np
import numpy.typing as npt

COLUMNS, MOST = 5, 25
LONGEST_SIDE = 160
"""Pixels of a tile; a frame that is smaller stays as it is."""


class Spritesheet:
    """At most `MOST` of a video's frames, evenly spread, first and last among them. Feed all frames, then `finish`."""

    def __init__(self, width: int, height: int, frames: int) -> None:
        """`width` and `height` of a frame in pixels."""
        scale = min(1.0, LONGEST_SIDE / max(width, height))
        self.width, self.height = max(round(width * scale), 1), max(round(height * scale), 1)
        self._tile_of = {place: tile for tile, place in enumerate(spread(frames, min(frames, MOST)))}
        rows = -(-len(self._tile_of) // COLUMNS)
        self._sheet: npt.NDArray[np.uint8] = np.zeros((rows * self.height, COLUMNS * self.width, 3), np.uint8)

    def see(self, place: int, frame: av.VideoFrame) -> None:
        """The frame at this place, counted from 0."""
        tile = self._tile_of.get(place)
        if tile is not None:
            top, left = tile // COLUMNS * self.height, tile % COLUMNS * self.width
            small = frame.reformat(self.width, self.height, "rgb24").to_ndarray()
            self._sheet[top : top + self.height, left : left + self.width] = small

    def finish(self) -> bytes:
        """A jpeg."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(self._sheet).save(buffer, "jpeg", quality=80)
        return buffer.getvalue()


def spread(count: int, chosen: int) -> list[int]:
    """`chosen` of the numbers below `count`, as even as they can be, the first and the last among them."""
    return [round(place * (count - 1) / max(chosen - 1, 1)) for place in range(chosen)]
