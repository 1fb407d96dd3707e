"""Measure what a clip shows and compare it with its caption. Nothing here learns, and nothing is assumed.

Colours are the nearest palette entry within a limit, the shape is the one whose outline of equal area and
centre overlaps best (and well enough), the direction is the slope of the centre's track. What fits nothing
is None, which is never correct. Limits leave room for H.264 with subsampled chroma at 64 x 64.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tiny_model.captions import ATTRIBUTES, DIRECTIONS, PALETTE, SHAPES, Caption, parse_caption
from tiny_model.data import Floats, Pixels, coverage

__all__ = ["Caption", "Verdict", "judge", "parse_caption"]

# Half the distance between the two most similar palette colours is above 45 (RGB, Euclidean).
COLOUR_LIMIT = 45.0
# An object is a shape only if it fits it better than a perfect specimen of anything else would: at equal area
# a disc, a square and a diamond reach 0.85 of one another, and nothing but a triangle reaches 0.71 of one.
OVERLAP_FLOOR = {"circle": 0.85, "square": 0.85, "triangle": 0.72}
# What lies between two shapes has no name.
OVERLAP_MARGIN = 0.03
# As fractions of the picture: area an object may have, and the least way it must go in the clip.
AREA_RANGE = (0.02, 0.40)
TRAVEL_LIMIT = 0.15
SIDEWAYS_LIMIT = 0.35
_CONTRAST_LIMIT = 40.0
# Area of each shape of radius 1, and its centroid's distance below the middle of its box.
_UNIT_AREA = {"circle": np.pi, "square": 4.0, "triangle": 2.0}
_CENTROID_DROP = {"circle": 0.0, "square": 0.0, "triangle": 1 / 3}


@dataclass(frozen=True)
class Verdict:
    """What was measured, None where nothing fits, beside what the caption asked for.

    `overlap` is intersection over union of the object with each ideal shape, mean over frames; `travel` is
    the centre's motion (x, y) in pixels from first to last frame; colours are RGB, 0 to 255.
    """

    caption: Caption
    colour: str | None
    shape: str | None
    direction: str | None
    background: str | None
    object_rgb: tuple[float, float, float] | None
    background_rgb: tuple[float, float, float]
    overlap: dict[str, float]
    travel: tuple[float, float] | None

    @cached_property
    def correct(self) -> dict[str, bool]:
        """Attribute name to whether the clip shows it."""
        return {name: getattr(self, name) == getattr(self.caption, name) for name in ATTRIBUTES}

    @property
    def all_correct(self) -> bool:
        return all(self.correct.values())


def judge(frames: Pixels, caption: Caption) -> Verdict:
    """Judge uint8 RGB frames of shape (frames, height, width, 3), at least two frames.

    Raises ValueError for another shape or dtype.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or len(frames) < 2:
        raise ValueError(f"frames is {frames.dtype}{frames.shape}, expected uint8 (frames >= 2, height, width, 3)")
    pixels = frames.astype(float)
    background = np.median(pixels, axis=(0, 1, 2))
    colour = _object_colour(pixels, background)
    seen_background = _nearest_colour(background)
    if colour is None:
        return Verdict(caption, None, None, None, seen_background, None, _rgb(background), {}, None)
    masks = _object_masks(pixels, background, colour)
    overlap, travel = _measure_overlap(masks), _measure_travel(masks)
    return Verdict(
        caption=caption,
        colour=_nearest_colour(colour),
        shape=_best_shape(overlap),
        direction=_direction(travel, frames.shape[1:3]),
        background=seen_background,
        object_rgb=_rgb(colour),
        background_rgb=_rgb(background),
        overlap=overlap,
        travel=travel,
    )


def _object_colour(pixels: Floats, background: Floats) -> Floats | None:
    """Median colour of the pixels that stand out from the background at least half as much as the most do."""
    contrast = np.linalg.norm(pixels - background, axis=-1)
    strongest = float(np.quantile(contrast, 0.99))
    if strongest < _CONTRAST_LIMIT:
        return None
    median: Floats = np.median(pixels[contrast > 0.5 * strongest], axis=0)
    return median


def _nearest_colour(rgb: Floats) -> str | None:
    distances = {name: float(np.linalg.norm(rgb - np.asarray(colour))) for name, colour in PALETTE.items()}
    name = min(distances, key=distances.__getitem__)
    return name if distances[name] <= COLOUR_LIMIT else None


def _object_masks(pixels: Floats, background: Floats, colour: Floats) -> Floats:
    """How far each pixel has gone from background to object colour, 0 to 1: (frames, height, width)."""
    span = colour - background
    return np.clip((pixels - background) @ span / (span @ span), 0, 1)


def _centre(mask: Floats) -> tuple[float, float]:
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]] + 0.5
    area = mask.sum()
    return float((x * mask).sum() / area), float((y * mask).sum() / area)


def _solid(mask: Floats) -> Floats:
    """The mask without faint haze, whose far pixels would drag area and centre."""
    return np.where(mask < 0.2, 0.0, mask)


def _measure_overlap(masks: Floats) -> dict[str, float]:
    """Overlap with each shape of equal area and centre, mean over frames; a frame without object counts 0."""
    scores = {shape: [_shape_overlap(_solid(mask), shape) for mask in masks] for shape in SHAPES}
    return {shape: float(np.mean(values)) for shape, values in scores.items()}


def _shape_overlap(mask: Floats, shape: str) -> float:
    area = mask.sum()
    if not AREA_RANGE[0] <= area / mask.size <= AREA_RANGE[1]:
        return 0.0
    radius = float(np.sqrt(area / _UNIT_AREA[shape]))
    x, y = _centre(mask)
    ideal = coverage(shape, (x, y - _CENTROID_DROP[shape] * radius), radius, *mask.shape)
    return float(np.minimum(mask, ideal).sum() / np.maximum(mask, ideal).sum())


def _best_shape(overlap: dict[str, float]) -> str | None:
    *_, second, shape = sorted(overlap, key=overlap.__getitem__)
    clear = overlap[shape] - overlap[second] >= OVERLAP_MARGIN
    return shape if clear and overlap[shape] >= OVERLAP_FLOOR[shape] else None


def _measure_travel(masks: Floats) -> tuple[float, float] | None:
    """Slope of the centre's track times the clip's length, or None where a frame has no object."""
    solid = [_solid(mask) for mask in masks]
    if any(mask.sum() < AREA_RANGE[0] * mask.size for mask in solid):
        return None
    centres = np.asarray([_centre(mask) for mask in solid])
    slopes = np.polyfit(np.arange(len(centres)), centres, 1)[0] * (len(centres) - 1)
    return float(slopes[0]), float(slopes[1])


def _direction(travel: tuple[float, float] | None, size: tuple[int, ...]) -> str | None:
    if travel is None:
        return None
    # Projection on each direction: the largest must be a real way, the other axis a small part of it.
    along = {name: travel[0] * x + travel[1] * y for name, (x, y) in DIRECTIONS.items()}
    name = max(along, key=along.__getitem__)
    sideways = min(abs(travel[0]), abs(travel[1]))
    goes_far = along[name] >= TRAVEL_LIMIT * min(size)
    return name if goes_far and sideways <= SIDEWAYS_LIMIT * along[name] else None


def _rgb(colour: Floats) -> tuple[float, float, float]:
    red, green, blue = (float(channel) for channel in colour)
    return red, green, blue
