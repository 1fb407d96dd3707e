"""Judge a bundle's own videos: `python -m gpu_runner.tiny.evaluate --bundle bundles/tiny --seen 128`.

Prints a table for seen and held-out captions; the last line is one JSON object with the same figures.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import WanPipeline

from gpu_runner.tiny.captions import ATTRIBUTES, Caption, split
from gpu_runner.tiny.data import FRAMES, SIZE, Pixels
from gpu_runner.tiny.judge import Verdict, judge
from gpu_runner.tiny.model import MAX_SEQUENCE_LENGTH

STEPS = 12
GUIDANCE_SCALE = 3.0
_BATCH = 8
_FIRST_SEED = 9000
_FIGURES = ("<!-- figures: written by evaluate -->", "<!-- end of figures -->")


@dataclass(frozen=True, slots=True)
class Score:
    """Fractions of `clips` that show each attribute, and that show all four."""

    captions: str
    clips: int
    colour: float
    shape: float
    direction: float
    background: float
    all_correct: float


def generate(pipeline: WanPipeline, captions: Sequence[Caption], first_seed: int) -> list[Pixels]:
    """One clip a caption, uint8 (17, 64, 64, 3); clip i draws its noise from seed first_seed + i."""
    clips: list[Pixels] = []
    for start in range(0, len(captions), _BATCH):
        batch = captions[start : start + _BATCH]
        seeds = range(first_seed + start, first_seed + start + len(batch))
        videos = pipeline(
            [caption.text for caption in batch],
            negative_prompt="",
            height=SIZE,
            width=SIZE,
            num_frames=FRAMES,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE_SCALE,
            max_sequence_length=MAX_SEQUENCE_LENGTH,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
        ).frames
        clips.extend(np.rint(videos * 255).astype(np.uint8))
    return clips


def score(name: str, verdicts: Sequence[Verdict]) -> Score:
    """Count what the verdicts found correct."""
    fractions = {
        attribute: float(np.mean([verdict.correct[attribute] for verdict in verdicts])) for attribute in ATTRIBUTES
    }
    all_correct = float(np.mean([verdict.all_correct for verdict in verdicts]))
    return Score(captions=name, clips=len(verdicts), **fractions, all_correct=all_correct)


def table(scores: Sequence[Score]) -> str:
    """The scores as a Markdown table."""
    lines = [
        "| captions | clips | colour | shape | direction | background | all four |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in scores:
        name, clips, *fractions = asdict(row).values()
        lines.append(f"| {name} | {clips} | " + " | ".join(f"{fraction:.3f}" for fraction in fractions) + " |")
    return "\n".join(lines)


def misses(verdicts: Sequence[Verdict]) -> list[str]:
    """One line for each clip that is not what its caption says, with what was measured instead."""
    return [
        f"{verdict.caption.text}: "
        + ", ".join(f"{name} {getattr(verdict, name)}" for name, correct in verdict.correct.items() if not correct)
        + f" (overlap {', '.join(f'{shape} {value:.2f}' for shape, value in verdict.overlap.items())})"
        for verdict in verdicts
        if not verdict.all_correct
    ]


def write_card(card: Path, figures: str) -> None:
    """Replace what stands between the card's two figure marks. Raises ValueError if a mark is missing."""
    before, begin, rest = card.read_text().partition(_FIGURES[0])
    _, end, after = rest.partition(_FIGURES[1])
    if not (begin and end):
        raise ValueError(f"{card} lacks the marks {_FIGURES[0]!r} and {_FIGURES[1]!r}")
    card.write_text(f"{before}{begin}\n{figures}\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("bundles/tiny"))
    parser.add_argument("--seen", type=int, default=128, help="how many seen captions; all held-out ones are judged")
    parser.add_argument("--first-seed", type=int, default=_FIRST_SEED)
    parser.add_argument("--write-card", action="store_true", help="put the table into the bundle's README.md")
    arguments = parser.parse_args()

    pipeline = WanPipeline.from_pretrained(arguments.bundle, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    captions = split()
    sets = {
        "seen": random.Random(arguments.first_seed).sample(captions.seen, arguments.seen),
        "held-out": list(captions.held_out),
    }
    began, scores = time.monotonic(), []
    for name, chosen in sets.items():
        clips = generate(pipeline, chosen, arguments.first_seed)
        verdicts = [judge(clip, caption) for clip, caption in zip(clips, chosen, strict=True)]
        scores.append(score(name, verdicts))
        print(*misses(verdicts), sep="\n")
    elapsed = time.monotonic() - began
    print(table(scores))
    if arguments.write_card:
        settings = f"{STEPS} steps, guidance {GUIDANCE_SCALE}, seeds from {arguments.first_seed}, fp32, CPU."
        write_card(arguments.bundle / "README.md", f"{settings}\n\n{table(scores)}")
    figures = {row.captions.replace("-", "_"): asdict(row) for row in scores}
    print(json.dumps({**figures, "steps": STEPS, "guidance_scale": GUIDANCE_SCALE, "seconds": round(elapsed, 1)}))


if __name__ == "__main__":
    main()
