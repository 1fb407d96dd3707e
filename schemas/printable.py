"""Text of others where a person reads it: no character of it may act on a terminal, or show the text in another order.

What acts are control characters (C0, DEL, C1, of which ESC and CSI begin escape sequences) and line separators; what
reorders are the bidirectional embeddings, overrides and isolates. Each is shown as its escape, `\\x1b` or `\\u202e`.
The marks that ordinary Arabic and Hebrew text needs (LRM, RLM, ALM) and joiners stay.
"""

from __future__ import annotations

from collections.abc import Mapping

CONTROLS = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
SURROGATES = range(0xD800, 0xE000)
"""Halves of characters: a terminal cannot be given any."""
ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in (*CONTROLS, *BIDI, *SURROGATES)}
IN_LINES = {code: text for code, text in ESCAPES.items() if chr(code) not in "\n\t"}
ACTING_IN_LINES = {code: ESCAPES[code] for code in (*CONTROLS, *SURROGATES) if chr(code) not in "\r\n\t"}
IN_JSON = {code: f"\\u{code:04x}" for code in (*CONTROLS, *BIDI) if code >= 0x7F}
"""JSON escapes the others itself, and these are the same text to whoever parses it."""


def printable(text: str, lines: bool = False) -> str:
    """The text on one line, or on its own `lines`: then newlines and tabs stay."""
    return text.translate(IN_LINES if lines else ESCAPES)


def printable_json(text: str) -> str:
    """The same JSON value, written without characters that act on a terminal."""
    return text if text.isascii() and "\x7f" not in text else text.translate(IN_JSON)


def one_plain_line(text: str) -> str:
    """The text, for names and reasons. Raises `ValueError` for a character that acts on a terminal or reorders text."""
    return without(text, ESCAPES)


def plain_lines(text: str) -> str:
    """The text, for values, which may have lines, tabs and any order of writing. Raises `ValueError`."""
    return without(text, ACTING_IN_LINES)


def without(text: str, unwanted: Mapping[int, str]) -> str:
    for place, character in enumerate(text):
        if ord(character) in unwanted:
            raise ValueError(f"character {place + 1} is {unwanted[ord(character)]}: leave it out")
    return text
