"""What a caption can say: four attributes, one sentence, and the split that keeps some combinations unseen."""

import itertools
import random
import re
from dataclasses import dataclass

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (225, 30, 30),
    "green": (30, 180, 50),
    "blue": (35, 60, 225),
    "yellow": (240, 220, 40),
    "cyan": (40, 210, 220),
    "purple": (160, 40, 200),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
    "orange": (245, 130, 20),
    "pink": (250, 130, 190),
    "brown": (125, 70, 25),
    "grey": (130, 130, 130),
}
SHAPES = ("circle", "square", "triangle")
# Image coordinates: x grows to the right, y grows downwards.
DIRECTIONS: dict[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
ATTRIBUTES = ("colour", "shape", "direction", "background")

HELD_OUT_TRIPLES = 15
_SPLIT_SEED = 7
_SENTENCE = re.compile(
    rf"a ({'|'.join(PALETTE)}) ({'|'.join(SHAPES)}) moving ({'|'.join(DIRECTIONS)})"
    rf" on a ({'|'.join(PALETTE)}) background"
)


@dataclass(frozen=True, slots=True)
class Caption:
    """The four attributes of one clip; `text` is the sentence the model reads."""

    colour: str
    shape: str
    direction: str
    background: str

    @property
    def text(self) -> str:
        return f"a {self.colour} {self.shape} moving {self.direction} on a {self.background} background"


@dataclass(frozen=True, slots=True)
class Split:
    """Disjoint captions; those of `held_out` are never trained on."""

    seen: tuple[Caption, ...]
    held_out: tuple[Caption, ...]


def parse_caption(text: str) -> Caption | None:
    """Return the caption that `text` spells, ignoring case and spacing, or None if it is another sentence."""
    match = _SENTENCE.fullmatch(" ".join(text.lower().split()).rstrip("."))
    if match is None or match[1] == match[4]:
        return None
    return Caption(*match.groups())


def all_captions() -> tuple[Caption, ...]:
    """Every caption whose object differs in colour from its background: 12 x 3 x 4 x 11 = 1,584."""
    return tuple(
        Caption(colour, shape, direction, background)
        for colour, shape, direction, background in itertools.product(PALETTE, SHAPES, DIRECTIONS, PALETTE)
        if colour != background
    )


def split() -> Split:
    """Hold out fifteen whole (colour, shape, direction) triples, on every background.

    Holding out four-tuples alone would leave each of their triples in the training set; here the model has
    never seen the object move that way at all, while every pair of attributes does occur in training: of a colour
    and a direction no more than one shape is held out.
    """
    chance = random.Random(_SPLIT_SEED)
    ways = chance.sample(list(itertools.product(PALETTE, DIRECTIONS)), HELD_OUT_TRIPLES)
    held_out = {(colour, chance.choice(SHAPES), direction) for colour, direction in ways}

    def unseen(caption: Caption) -> bool:
        return (caption.colour, caption.shape, caption.direction) in held_out

    captions = all_captions()
    return Split(
        seen=tuple(caption for caption in captions if not unseen(caption)),
        held_out=tuple(caption for caption in captions if unseen(caption)),
    )
