"""Judge the tiny model's videos as the line makes them, H.264 included: `python -m tiny_model.evaluate`.

Prints what missed and a table for seen and held-out captions; the last line is one JSON object with the figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from schemas.events.prompts import PromptSubmitted
from schemas.limits import recipe_of
from stages.execution.in_process import InProcessLine
from stages.media.h264 import decode
from tiny_model.captions import Caption, split
from tiny_model.data import Pixels
from tiny_model.judge import Verdict, judge
from tiny_model.scores import misses, score, table, write_card

WHOLE, QUICK = (602, 330), (48, 33)
"""Clips of seen and of held-out captions."""
FRAMES_BETWEEN = 4
"""Every how many frames a contact sheet shows one."""


def clip(line: InProcessLine, caption: Caption, seed: int) -> Pixels:
    """The frames of a finished mp4: uint8 (frames, height, width, 3)."""
    asked = PromptSubmitted(prompt=caption.text, seed=seed)
    recipe = recipe_of(asked, f"video_{seed}", {line.bundle.model: line.bundle}, line.bundle.model)
    return np.stack(list(decode(line.run(recipe, f"video_{seed}")["video"])))


def save_sheet(path: Path, clips: Sequence[Pixels]) -> None:
    """A PNG with a row a clip, to look at."""
    from PIL import Image

    rows = [np.concatenate(list(frames[::FRAMES_BETWEEN]), axis=1) for frames in clips]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(path)


def judged(line: InProcessLine, captions: Sequence[Caption], first_seed: int, sheet: Path | None) -> list[Verdict]:
    """Clip i draws its noise from seed first_seed + i."""
    clips = [clip(line, caption, seed) for seed, caption in enumerate(captions, first_seed)]
    if sheet is not None:
        save_sheet(sheet, clips[:16])
    return [judge(frames, caption) for frames, caption in zip(clips, captions, strict=True)]


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("bundles/tiny"))
    parser.add_argument("--seen", type=int, default=WHOLE[0], help="how many seen captions")
    parser.add_argument("--held-out", type=int, default=WHOLE[1], help="clips of held-out captions")
    parser.add_argument("--quick", action="store_true", help="48 seen and 33 held-out ones: a minute or less")
    parser.add_argument("--first-seed", type=int, default=9000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sheets", type=Path, help="folder for a PNG of the first clips of each set")
    parser.add_argument("--write-card", action="store_true", help="put the table into the bundle's README.md")
    return parser


def main() -> None:
    arguments = parser().parse_args()
    if arguments.quick:
        arguments.seen, arguments.held_out = QUICK
    line = InProcessLine.load(arguments.bundle, threads=arguments.threads)
    sets = {
        "seen": random.Random(arguments.first_seed).sample(split().seen, arguments.seen),
        "held-out": list(itertools.islice(itertools.cycle(split().held_out), arguments.held_out)),
    }
    began, scores = time.monotonic(), []
    for name, captions in sets.items():
        sheet = arguments.sheets / f"{name}.png" if arguments.sheets else None
        verdicts = judged(line, captions, arguments.first_seed, sheet)
        scores.append(score(name, verdicts))
        print(*misses(verdicts), sep="\n")
    defaults = line.bundle.defaults
    settings = {
        "steps": defaults.num_inference_steps, "guidance_scale": defaults.guidance_scale,
        "scheduler": defaults.scheduler, "first_seed": arguments.first_seed,
    }  # fmt: skip
    print(table(scores))
    if arguments.write_card:
        caption = ", ".join(f"{name} {value}" for name, value in settings.items())
        write_card(
            arguments.bundle / "README.md", f"{caption}; CPU, fp32, judged on the finished mp4.\n\n{table(scores)}"
        )
    figures = {row.captions.replace("-", "_"): asdict(row) for row in scores}
    print(json.dumps({**figures, **settings, "seconds": round(time.monotonic() - began, 1)}))


if __name__ == "__main__":
    main()
