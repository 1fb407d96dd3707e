"""Clips drawn from captions: a flat shape with a soft edge, moving at constant speed over a flat background."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiny_model.captions import DIRECTIONS, PALETTE, Caption

Floats = npt.NDArray[np.floating]
Pixels = npt.NDArray[np.uint8]

FRAMES = 17
SIZE = 64
RADIUS_RANGE = (12.0, 15.0)
SPEED_RANGE = (1.4, 1.9)
_EDGE_SHARPNESS = 2.0


@dataclass(frozen=True, slots=True)
class Scene:
    """One clip's free parameters, in pixels: radius, speed per frame, and the object's centre in frame 0."""

    caption: Caption
    radius: float
    speed: float
    x: float
    y: float

    def centre(self, frame: int) -> tuple[float, float]:
        step_x, step_y = DIRECTIONS[self.caption.direction]
        return self.x + step_x * self.speed * frame, self.y + step_y * self.speed * frame


def signed_distance(shape: str, x: Floats, y: Floats, radius: float | Floats) -> Floats:
    """Signed distance (pixels, negative inside; outside corners it is a lower bound) to a shape at the origin.

    Every shape fills the box [-radius, radius] squared: a disc, the box itself, and an isosceles triangle
    with its base at the bottom.
    """
    if shape == "circle":
        return np.hypot(x, y) - radius
    if shape == "square":
        return np.asarray(np.maximum(np.abs(x), np.abs(y)) - radius)
    if shape == "triangle":
        sides = (2 * np.abs(x) - y - radius) / np.sqrt(5.0)
        return np.asarray(np.maximum(sides, y - radius))
    raise ValueError(f"shape is {shape!r}, expected circle, square or triangle")


def coverage(shape: str, centre: tuple[float, float], radius: float, height: int, width: int) -> Floats:
    """Return how much of each pixel the shape covers: (height, width), 0 to 1, with an anti-aliased edge."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    distance = signed_distance(shape, x - centre[0], y - centre[1], radius)
    covered: Floats = 1 / (1 + np.exp(np.clip(_EDGE_SHARPNESS * distance, -30, 30)))
    return covered


def sample_scene(caption: Caption, random: np.random.Generator) -> Scene:
    """Draw radius, speed and a start from which the object stays inside the picture in every frame."""
    radius = random.uniform(*RADIUS_RANGE)
    speed = random.uniform(*SPEED_RANGE)
    travel = speed * (FRAMES - 1)
    step_x, step_y = DIRECTIONS[caption.direction]
    x = random.uniform(radius + travel * (step_x < 0), SIZE - radius - travel * (step_x > 0))
    y = random.uniform(radius + travel * (step_y < 0), SIZE - radius - travel * (step_y > 0))
    return Scene(caption, radius, speed, x, y)


def render(scene: Scene) -> Pixels:
    """Draw a scene: uint8 RGB frames of shape (17, 64, 64, 3)."""
    colour, background = (np.asarray(PALETTE[name], float) for name in (scene.caption.colour, scene.caption.background))
    shape, radius = scene.caption.shape, scene.radius
    alpha = np.stack([coverage(shape, scene.centre(i), radius, SIZE, SIZE) for i in range(FRAMES)])[..., None]
    pixels: Pixels = np.rint(background + alpha * (colour - background)).astype(np.uint8)
    return pixels


def balanced(captions: Sequence[Caption], count: int, random: np.random.Generator) -> list[Caption]:
    """Return `count` captions from concatenated shuffles of the list, so that each occurs equally often."""

    def shuffles() -> Iterator[Caption]:
        while True:
            yield from (captions[i] for i in random.permutation(len(captions)))

    return list(itertools.islice(shuffles(), count))


def render_batch(captions: Sequence[Caption], random: np.random.Generator) -> Pixels:
    """Render one clip a caption: uint8 of shape (captions, 17, 64, 64, 3)."""
    return np.stack([render(sample_scene(caption, random)) for caption in captions])
