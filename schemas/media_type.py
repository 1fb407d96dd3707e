"""Media types as headers name them: in any case, with parameters."""

from __future__ import annotations

from typing import NamedTuple

UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


class MediaType(NamedTuple):
    """`name` and `charset` in lower-case letters; an empty charset is one that is not said."""

    name: str
    charset: str = ""

    @classmethod
    def of(cls, header: str) -> MediaType:
        """Never raises: what cannot be read has an odd name."""
        name, *parameters = header.split(";")
        for parameter in parameters:
            key, _, text = parameter.partition("=")
            if key.strip().lower() == "charset":
                return cls(name.strip().lower(), text.strip().strip("\"'").lower())
        return cls(name.strip().lower())

    @property
    def is_utf_8(self) -> bool:
        return self.charset == "" or self.charset in UTF_8
