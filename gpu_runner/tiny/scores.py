"""What many verdicts say together: fractions, a table for people, the misses, and the figures in a bundle's card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gpu_runner.tiny.captions import ATTRIBUTES
from gpu_runner.tiny.judge import Verdict

FIGURES = ("<!-- figures: written by `make judge-tiny` -->", "<!-- end of figures -->")


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


def score(name: str, verdicts: Sequence[Verdict]) -> Score:
    """Count what the verdicts found correct."""

    def fraction(found: Sequence[bool]) -> float:
        return sum(found) / len(found)

    fractions = {name: fraction([verdict.correct[name] for verdict in verdicts]) for name in ATTRIBUTES}
    all_correct = fraction([verdict.all_correct for verdict in verdicts])
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
    before, begin, rest = card.read_text().partition(FIGURES[0])
    _, end, after = rest.partition(FIGURES[1])
    if not (begin and end):
        raise ValueError(f"{card} lacks the marks {FIGURES[0]!r} and {FIGURES[1]!r}")
    card.write_text(f"{before}{begin}\n{figures}\n{end}{after}")
