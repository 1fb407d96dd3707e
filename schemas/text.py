"""Text as people write it, bounded before it is looked at, and then brought into one form."""

from __future__ import annotations

import unicodedata

from schemas.bounds import LONGEST_MARK_RUN, RAW_CHARACTERS
from schemas.errors import InvalidJob

ALLOWED_CONTROLS = "\t\n\r"
CONTROLS = ("Cc", "Cs")
BLANK_CATEGORIES = frozenset("ZMC")
UNASSIGNED = "Cn"
"""A character that this Python has not heard of, such as a new emoji."""
FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols that are drawn as nothing: fillers of Hangul, and the empty cell of Braille."""


def clean_text(field: str, text: str, longest: int, required: bool = False) -> str:
    """NFC, with white space collapsed; `longest` is in characters of that.

    Raises `InvalidJob` for length, control characters, too many combining marks in a row and, if it is required, for
    nothing visible.
    """
    if len(text) > longest * RAW_CHARACTERS:
        raise too_long(field, text, longest)
    if not text.isascii() or not text.isprintable():
        check_characters(field, text)
    cleaned = " ".join(unicodedata.normalize("NFC", text).split())
    if len(cleaned) > longest:
        raise too_long(field, cleaned, longest)
    if required and not any(map(is_visible, cleaned)):
        raise InvalidJob(field, text, "must not be empty" if not cleaned else "must have a character that can be seen")
    return cleaned


def too_long(field: str, text: str, longest: int) -> InvalidJob:
    return InvalidJob(field, text, f"has {len(text)} characters, at most {longest}", f"{longest} characters")


def check_characters(field: str, text: str) -> None:
    """Raises `InvalidJob` for what no text needs. `text` is of bounded length."""
    marks = 0
    for place, character in enumerate(text):
        if unicodedata.category(character) in CONTROLS and character not in ALLOWED_CONTROLS:
            raise InvalidJob(field, text, f"has the control character U+{ord(character):04X} at {place}")
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > LONGEST_MARK_RUN:
            limit = f"has more than {LONGEST_MARK_RUN} combining marks in a row at {place}"
            raise InvalidJob(field, text, limit, f"{LONGEST_MARK_RUN} marks")


def is_visible(character: str) -> bool:
    """Whether it draws something by itself: no white space, mark, format character or filler."""
    category = unicodedata.category(character)
    return character not in FILLERS and (category[0] not in BLANK_CATEGORIES or category == UNASSIGNED)
