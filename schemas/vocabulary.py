"""Words of a prompt that a model does not know, where its description lists the ones it does: a warning, no refusal."""

from __future__ import annotations

import difflib
import re
from functools import lru_cache

from schemas.bundle import BundleManifest

MOST_NAMED, MOST_LISTED, LONGEST_WORD = 8, 40, 40
CLOSE = 0.8
"""How alike two words must be, from 0 to 1, for the one to be taken for a slip of the other."""
WORD = re.compile(r"\w+")


def warnings_of(bundle: BundleManifest, prompt: str, negative_prompt: str | None = None) -> tuple[str, ...]:
    """A sentence for each of the two texts that has such words; none for a model with an open vocabulary."""
    if bundle.vocabulary is None:
        return ()
    texts = {"prompt": prompt, "negative_prompt": negative_prompt or ""}
    longest = bundle.limits.max_prompt_characters
    warnings = (warning(bundle.model, field, text[:longest], bundle.vocabulary) for field, text in texts.items())
    return tuple(each for each in warnings if each is not None)


@lru_cache(maxsize=1024)
def warning(model: str, field: str, text: str, vocabulary: tuple[str, ...]) -> str | None:
    """What to say of the words of a text that are not in the vocabulary, or None if there are none."""
    known = frozenset(vocabulary)
    unknown = [word for word in dict.fromkeys(WORD.findall(text.lower())) if word not in known]
    if not unknown:
        return None
    named = ", ".join(f'"{word[:LONGEST_WORD]}"{meant(word, vocabulary)}' for word in unknown[:MOST_NAMED])
    more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
    known_words = ", ".join(vocabulary[:MOST_LISTED]) + (", ..." if len(vocabulary) > MOST_LISTED else "")
    return f"{field}: {model} does not know {named}{more}, and draws nothing of it; it knows {known_words}"


def meant(word: str, vocabulary: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word[:LONGEST_WORD], vocabulary, n=1, cutoff=CLOSE)
    return f" (did you mean {close[0]}?)" if close else ""
