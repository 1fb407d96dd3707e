"""Model families by the name that a bundle's manifest gives."""

from __future__ import annotations

from gpu_runner.families.base import Family
from gpu_runner.families.cogvideox import CogVideoX
from gpu_runner.families.wan import Wan

FAMILIES: dict[str, type[Family]] = {"wan": Wan, "cogvideox": CogVideoX}


def family_of(name: str) -> type[Family]:
    """Raises `ValueError` naming the families there are."""
    if name not in FAMILIES:
        raise ValueError(f"no model family {name!r}; there are: {', '.join(FAMILIES)}")
    return FAMILIES[name]
