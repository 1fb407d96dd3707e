"""What the finished videos show: judged frames, and a strip of them as one picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from tiny_model.data import Pixels

FRAMES_SHOWN = 5
SCALE, GAP, TEXT_HEIGHT, COLUMNS = 2, 6, 22, 2


@dataclass(frozen=True)
class DemoVideo:
    """A video that was fetched: frames (n, height, width, 3) uint8 RGB."""

    prompt: str
    path: Path
    frames: Pixels


def read_demo_video(prompt: str, path: Path) -> DemoVideo:
    import numpy as np

    from stages.media.h264 import decode

    return DemoVideo(prompt, path, np.stack(list(decode(path.read_bytes()))))


def verdict(film: DemoVideo) -> list[str] | None:
    """What the video shows otherwise than its prompt says; None for a prompt that the judge cannot read."""
    from tiny_model.judge import judge, parse_caption

    caption = parse_caption(film.prompt)
    if caption is None:
        return None
    seen = judge(film.frames, caption)
    return [f"{name} {getattr(seen, name) or 'unclear'}" for name, right in seen.correct.items() if not right]


def write_strip(films: list[DemoVideo], target: Path) -> None:
    """A few frames of each video side by side, its prompt above them, as PNG."""
    from PIL import Image

    cells = [cell(film) for film in films]
    width, height = max(each.width for each in cells), max(each.height for each in cells)
    rows = -(-len(cells) // COLUMNS)
    size = (min(len(cells), COLUMNS) * (width + GAP) + GAP, rows * (height + GAP) + GAP)
    strip = Image.new("RGB", size, "white")
    for number, each in enumerate(cells):
        row, column = divmod(number, COLUMNS)
        strip.paste(each, (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    strip.save(target)


def cell(film: DemoVideo) -> Image.Image:
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    chosen = np.linspace(0, len(film.frames) - 1, FRAMES_SHOWN).round().astype(int)
    height, width = (side * SCALE for side in film.frames.shape[1:3])
    picture = Image.new("RGB", (FRAMES_SHOWN * (width + 2) - 2, height + TEXT_HEIGHT), "white")
    ImageDraw.Draw(picture).text((0, 2), film.prompt, "black", ImageFont.load_default(14))
    for place, frame in enumerate(film.frames[chosen]):
        scaled = Image.fromarray(frame).resize((width, height), Image.Resampling.NEAREST)
        picture.paste(scaled, (place * (width + 2), TEXT_HEIGHT))
    return picture
