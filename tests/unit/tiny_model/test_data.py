"""The tiny model's data: the same every time, inside the picture, and split so that held-out means unseen."""

import itertools
from dataclasses import astuple

import numpy as np
import pytest

from tiny_model.captions import PALETTE, Caption, all_captions, parse_caption, split
from tiny_model.data import balanced, coverage, render_batch, sample_scene, signed_distance
from tiny_model.judge import COLOUR_LIMIT


def test_captions_name_every_combination_once() -> None:
    captions = all_captions()
    assert len(set(captions)) == len(captions) == 12 * 3 * 4 * 11


@pytest.mark.parametrize("caption", all_captions()[::50], ids=lambda caption: caption.text)
def test_a_caption_is_read_back_from_its_text(caption: Caption) -> None:
    assert parse_caption(caption.text) == caption
    assert parse_caption(f"  {caption.text.upper()}. ") == caption


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red circle",
        "a maroon circle moving up on a blue background",
        "a red circle moving up on a red background",
        "a red circle moving up on a blue background and more",
    ],
)
def test_other_sentences_are_no_caption(text: str) -> None:
    assert parse_caption(text) is None


def test_the_split_is_whole_and_disjoint() -> None:
    parts = split()
    assert set(parts.seen) | set(parts.held_out) == set(all_captions())
    assert not set(parts.seen) & set(parts.held_out)


def test_held_out_objects_never_move_that_way_in_training() -> None:
    parts = split()
    seen = {(caption.colour, caption.shape, caption.direction) for caption in parts.seen}
    assert all((caption.colour, caption.shape, caption.direction) not in seen for caption in parts.held_out)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(range(4), 2)))
def test_every_pair_of_attributes_occurs_in_training(first: int, second: int) -> None:
    def pairs(captions: tuple[Caption, ...]) -> set[tuple[str, str]]:
        return {(astuple(caption)[first], astuple(caption)[second]) for caption in captions}

    assert pairs(all_captions()) == pairs(split().seen)


def test_the_same_seed_renders_the_same_clips() -> None:
    captions = all_captions()[::200]
    once, again, other = (render_batch(captions, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert once.shape == (len(captions), 17, 64, 64, 3)
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_balanced_takes_each_caption_before_any_comes_twice() -> None:
    captions = all_captions()
    chosen = balanced(captions, 2 * len(captions), np.random.default_rng(0))
    assert set(chosen[: len(captions)]) == set(chosen[len(captions) :]) == set(captions)


def test_objects_stay_inside_the_picture() -> None:
    rng = np.random.default_rng(0)
    for caption in all_captions():
        scene = sample_scene(caption, rng)
        ends = np.asarray([scene.centre(0), scene.centre(16)])
        assert (ends >= scene.radius - 1e-9).all()
        assert (ends <= 64 - scene.radius + 1e-9).all()


@pytest.mark.parametrize(("shape", "area"), [("circle", np.pi), ("square", 4.0), ("triangle", 2.0)])
def test_shapes_cover_their_area(shape: str, area: float) -> None:
    assert coverage(shape, (32, 32), 12.0, 64, 64).sum() == pytest.approx(area * 12.0**2, rel=0.03)


def test_an_unknown_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match="star"):
        signed_distance("star", np.zeros(1), np.zeros(1), 1.0)


def test_colours_are_further_apart_than_twice_the_judge_allows() -> None:
    distances = [np.linalg.norm(np.subtract(one, other)) for one, other in itertools.combinations(PALETTE.values(), 2)]
    assert min(distances) > 2 * COLOUR_LIMIT
