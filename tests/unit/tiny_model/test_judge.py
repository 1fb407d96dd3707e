"""The judge: right about every true clip, even after H.264, and not flattered by what is none of its shapes."""

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from schemas.recipe import Encoding
from stages.media.h264 import VideoEncoder, decode
from tiny_model.captions import DIRECTIONS, PALETTE, Caption, all_captions
from tiny_model.data import FRAMES, Floats, Pixels, Scene, render, sample_scene
from tiny_model.judge import judge
from tiny_model.scores import margin, wilson


def through_h264(frames: Pixels) -> Pixels:
    """Encode and decode as the line does, chroma subsampled."""
    encoder = VideoEncoder(64, 64, 8, Encoding())
    encoder.write(frames)
    return np.stack(list(decode(encoder.finish())))


@pytest.mark.parametrize("colour", PALETTE)
def test_true_clips_of_every_combination_are_all_correct(colour: str) -> None:
    rng = np.random.default_rng(sum(PALETTE[colour]))
    for number, caption in enumerate(caption for caption in all_captions() if caption.colour == colour):
        clip = render(sample_scene(caption, rng))
        # Three divides neither the ways nor the backgrounds, so every third caption meets all of both.
        verdict = judge(through_h264(clip) if number % 3 == 0 else clip, caption)
        assert verdict.all_correct, (caption.text, verdict)


def test_each_wrong_attribute_is_found() -> None:
    shown = Caption("red", "square", "left", "blue")
    clip = render(sample_scene(shown, np.random.default_rng(3)))
    for asked, wrong in [
        (Caption("green", "square", "left", "blue"), "colour"),
        (Caption("red", "circle", "left", "blue"), "shape"),
        (Caption("red", "square", "right", "blue"), "direction"),
        (Caption("red", "square", "left", "white"), "background"),
    ]:
        correct = judge(clip, asked).correct
        assert [name for name, is_correct in correct.items() if not is_correct] == [wrong]


def draw(inside: Callable[[Floats, Floats], Floats], travel: tuple[float, float] = (24.0, 0.0)) -> Pixels:
    """A white region moving over black: `inside` is a signed distance around the moving centre."""
    y, x = np.mgrid[0:64, 0:64] + 0.5
    frames = []
    for i in range(FRAMES):
        part = i / (FRAMES - 1) - 0.5
        distance = inside(x - 32 - travel[0] * part, y - 32 - travel[1] * part)
        frames.append(np.clip(0.5 - distance, 0, 1)[..., None] * np.full(3, 245.0))
    pixels: Pixels = np.rint(np.stack(frames)).astype(np.uint8)
    return pixels


IMPOSTORS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "diamond": lambda x, y: (np.abs(x) + np.abs(y) - 14) / np.sqrt(2),
    "wide rectangle": lambda x, y: np.maximum(np.abs(x) - 14, np.abs(y) - 9),
    "ellipse": lambda x, y: (np.hypot(x / 1.3, y * 1.3) - 11) / 1.3,
    "triangle on its tip": lambda x, y: np.maximum((2 * np.abs(x) + y - 12) / np.sqrt(5), -y - 12),
    "cross": lambda x, y: np.minimum(
        np.maximum(np.abs(x) - 13, np.abs(y) - 4), np.maximum(np.abs(x) - 4, np.abs(y) - 13)
    ),
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 10) - 3,
    "trapezium": lambda x, y: np.maximum((3 * np.abs(x) - y - 28) / np.sqrt(10), np.abs(y) - 10),
    "two discs": lambda x, y: np.minimum(np.hypot(x - 9, y), np.hypot(x + 9, y)) - 8,
}


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_what_is_no_disc_square_or_triangle_has_no_name(impostor: str) -> None:
    verdict = judge(draw(IMPOSTORS[impostor]), Caption("white", "circle", "right", "black"))
    assert verdict.shape is None, verdict.overlap
    assert verdict.correct == {"colour": True, "shape": False, "direction": True, "background": True}


def disc(x: Floats, y: Floats) -> Floats:
    return np.hypot(x, y) - 11


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_diagonal_or_a_standstill_is_no_direction(direction: str) -> None:
    for travel in ((20.0, 20.0), (0.0, 0.0)):
        assert judge(draw(disc, travel), Caption("white", "circle", direction, "black")).direction is None


def test_an_empty_clip_shows_a_background_only() -> None:
    frames = np.broadcast_to(np.asarray(PALETTE["green"], np.uint8), (FRAMES, 64, 64, 3))
    verdict = judge(np.ascontiguousarray(frames), Caption("red", "circle", "up", "green"))
    assert (verdict.colour, verdict.shape, verdict.direction, verdict.background) == (None, None, None, "green")


def test_an_object_that_vanishes_has_no_direction() -> None:
    caption = Caption("red", "circle", "right", "white")
    clip = render(sample_scene(caption, np.random.default_rng(0)))
    clip[8:] = PALETTE["white"]
    assert not judge(clip, caption).all_correct


@pytest.mark.parametrize(
    "frames",
    [np.zeros((2, 8, 8, 3)), np.zeros((1, 8, 8, 3), np.uint8), np.zeros((2, 3, 8, 8), np.uint8)],
    ids=["floats", "one frame", "channels first"],
)
def test_other_arrays_are_refused(frames: Pixels) -> None:
    with pytest.raises(ValueError, match="frames is"):
        judge(frames, all_captions()[0])


def test_the_judge_does_not_load_torch() -> None:
    code = "import sys, tiny_model.judge; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("right", "of", "low", "high"), [(263, 280, 0.9049, 0.9618), (280, 280, 0.9865, 1.0), (0, 10, 0.0, 0.2775)]
)
def test_the_interval_of_a_fraction_is_wilsons(right: int, of: int, low: float, high: float) -> None:
    assert wilson(right, of) == pytest.approx((low, high), abs=1e-4)


def test_a_margin_is_the_overlap_with_the_shape_less_that_with_the_next() -> None:
    scene = Scene(Caption("red", "square", "right", "blue"), radius=11, speed=1.5, x=20, y=32)
    verdict = judge(render(scene), scene.caption)
    nothing = judge(np.zeros((17, 64, 64, 3), np.uint8), scene.caption)
    assert margin([verdict], "square") == pytest.approx(verdict.overlap["square"] - verdict.overlap["circle"])
    assert margin([verdict, nothing], "square") == pytest.approx(margin([verdict], "square") / 2)
    assert math.isnan(margin([verdict], "circle"))
