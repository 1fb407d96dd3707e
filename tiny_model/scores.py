"""What many verdicts say together: fractions, a table for people, the misses, and the figures in a bundle's card."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tiny_model.captions import ATTRIBUTES, SHAPES
from tiny_model.judge import Verdict

FIGURES = ("<!-- figures: written by `make judge-tiny` -->", "<!-- end of figures -->")


@dataclass(frozen=True, slots=True)
class Score:
    """Fractions of `clips` that show each attribute, and that show all four, between `low` and `high` in 95 of 100
    such judgements. `margins`: by how much the clips of each shape fit it better than the next one, mean overlap."""

    captions: str
    clips: int
    colour: float
    shape: float
    direction: float
    background: float
    all_correct: float
    low: float
    high: float
    margins: dict[str, float]


NORMAL_95 = 1.959964


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a fraction by Wilson's score, which holds near 1 too."""
    z2, fraction = NORMAL_95**2, successes / trials
    middle = fraction + z2 / (2 * trials)
    half = NORMAL_95 * math.sqrt(fraction * (1 - fraction) / trials + z2 / (4 * trials**2))
    scale = 1 + z2 / trials
    return (middle - half) / scale, (middle + half) / scale


def margin(verdicts: Sequence[Verdict], shape: str) -> float:
    """Mean overlap of the clips that ask for a shape with it, less that with the shape that fits next best.

    NaN where no clip asks for it. A clip in which nothing was seen counts 0.
    """
    overlaps = [verdict.overlap for verdict in verdicts if verdict.caption.shape == shape]
    others = [max((value for name, value in each.items() if name != shape), default=0.0) for each in overlaps]
    margins = [each.get(shape, 0.0) - other for each, other in zip(overlaps, others, strict=True)]
    return sum(margins) / len(margins) if margins else math.nan


def score(name: str, verdicts: Sequence[Verdict]) -> Score:
    """Count what the verdicts found correct."""

    def fraction(found: Sequence[bool]) -> float:
        return sum(found) / len(found)

    fractions = {name: fraction([verdict.correct[name] for verdict in verdicts]) for name in ATTRIBUTES}
    all_correct = fraction([verdict.all_correct for verdict in verdicts])
    low, high = wilson(sum(verdict.all_correct for verdict in verdicts), len(verdicts))
    margins = {shape: margin(verdicts, shape) for shape in SHAPES}
    return Score(name, len(verdicts), **fractions, all_correct=all_correct, low=low, high=high, margins=margins)


def table(scores: Sequence[Score]) -> str:
    """The scores as a Markdown table."""
    lines = [
        "| captions | clips | colour | shape | direction | background | all four | 95 % interval | "
        + " | ".join(f"margin of a {shape}" for shape in SHAPES)
        + " |",
        "|" + "---|" * (8 + len(SHAPES)),
    ]
    for row in scores:
        figures = [f"{getattr(row, name):.3f}" for name in (*ATTRIBUTES, "all_correct")]
        margins = [f"{row.margins[shape]:.3f}" for shape in SHAPES]
        cells = [row.captions, str(row.clips), *figures, f"{row.low:.3f} to {row.high:.3f}", *margins]
        lines.append(f"| {' | '.join(cells)} |")
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
    before, begin, rest = card.read_text().partition(FIGURES[0])
    _, end, after = rest.partition(FIGURES[1])
    if not (begin and end):
        raise ValueError(f"{card} lacks the marks {FIGURES[0]!r} and {FIGURES[1]!r}")
    card.write_text(f"{before}{begin}\n{figures}\n{end}{after}")
