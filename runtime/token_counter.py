"""How many tokens a prompt has, by the tokenizer of its model: counted before a job is decided on, and without torch.

Only bundles with a `tokenizer/tokenizer.json` are counted for; of others the encode stage itself refuses what is too
long, as it does for all.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import ftfy
from tokenizers import Tokenizer

from schemas.bundle import MANIFEST_NAME, BundleManifest
from schemas.errors import InvalidJob
from schemas.events.prompts import PromptSubmitted
from schemas.limits import or_default
from schemas.text import clean_text

FILE = Path("tokenizer") / "tokenizer.json"
LARGEST_FILE = 64 * 1024**2
"""Bytes. The largest vocabulary of a model that is known here, of umt5, takes 17 MB."""


class TokenCounter:
    """The tokenizers of the models of some bundles."""

    def __init__(self, tokenizers: Mapping[str, tuple[BundleManifest, Tokenizer]] | None = None) -> None:
        self._tokenizers = tokenizers or {}

    @classmethod
    def of(cls, folders: str | Sequence[Path]) -> TokenCounter:
        """Raises `ValueError` for a file that is no tokenizer or too large."""
        paths = [Path(folder) for folder in folders.split(os.pathsep)] if isinstance(folders, str) else folders
        found: dict[str, tuple[BundleManifest, Tokenizer]] = {}
        for path in paths:
            manifest = BundleManifest.read((path / MANIFEST_NAME).read_bytes())
            if (file := path / manifest.source / FILE).is_file():
                found[manifest.model] = manifest, read_tokenizer(file)
        return cls(found)

    def counts(self, asked: PromptSubmitted, default_model: str) -> dict[str, int]:
        """Tokens by field, end token included; nothing of a text that is refused for another reason.

        The length in characters is checked first, so that the work is bounded.
        """
        known = self._tokenizers.get(asked.model or default_model)
        if known is None:
            return {}
        manifest, tokenizer = known
        longest = manifest.limits.max_prompt_characters
        texts = {
            "prompt": asked.prompt,
            "negative_prompt": or_default(asked.negative_prompt, manifest.defaults.negative_prompt),
        }
        try:
            cleaned = {field: clean_text(field, text, longest) for field, text in texts.items()}
        except InvalidJob:
            return {}
        return {field: tokens_of(tokenizer, manifest.family, text) for field, text in cleaned.items()}


def read_tokenizer(file: Path) -> Tokenizer:
    """Raises `ValueError`."""
    if file.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{file} has {file.stat().st_size} bytes, at most {LARGEST_FILE}")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"{file} is no tokenizer: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def tokens_of(tokenizer: Tokenizer, family: str, text: str) -> int:
    """As many as the encode stage would get."""
    return len(tokenizer.encode(as_wan_reads(text) if family == "wan" else text).ids)


def as_wan_reads(text: str) -> str:
    """What diffusers' pipeline of Wan makes of a prompt before its tokenizer sees it."""
    unescaped = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", unescaped.strip()).strip()
