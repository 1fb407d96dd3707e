"""Forms as browsers and the official client send them, read into pairs of name and text. UTF-8 only.

`python-multipart` finds the parts. Starlette's own reader of forms is not used: it hands the charset that a client
names to Python's codecs, some of which take seconds for kilobytes, and reads as Latin-1 what they do not know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.problems import Problem
from schemas.bounds import MOST_FIELDS
from schemas.errors import shorten
from schemas.media_type import MediaType

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

Pairs = list[tuple[str, str]]
LONGEST_CONTENT_TYPE = 512
"""The parameters of a longer one take time that is quadratic in its length."""
CHARSET_FIELD = "_charset_"
"""In which a form may name the charset of all its fields: RFC 7578, section 4.6."""


def urlencoded(body: bytes) -> Pairs:
    """Raises `Problem`."""
    if body.count(b"&") >= MOST_FIELDS:
        raise too_many()
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise not_utf_8(error) from None


def multipart(content_type: str, body: bytes, is_whole: bool = True) -> Pairs:
    """The fields of a body, or of the begin of one. Raises `Problem`, also for a file: there is no field for one."""
    if len(content_type) > LONGEST_CONTENT_TYPE:
        raise Problem("invalid_request", f"content-type has at most {LONGEST_CONTENT_TYPE} characters", "content-type")
    _, options = parse_options_header(content_type)
    parts = Parts()
    try:
        parser = MultipartParser(options[b"boundary"], parts.callbacks())
        parser.write(body)
        if is_whole:
            parser.finalize()
    except KeyError:
        raise Problem("invalid_request", "content-type has no boundary", "content-type") from None
    except FormParserError as error:
        raise Problem("invalid_request", f"the form cannot be read: {error}") from None
    return parts.pairs


@dataclass
class Parts:
    """What the parser tells of a form, a piece at a time."""

    pairs: Pairs = field(default_factory=list)
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _header: bytes = b""
    _value: bytes = b""
    _name: str = ""
    _is_file: bool = False
    _text: bytearray = field(default_factory=bytearray)

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_header_field": self._header_field, "on_header_value": self._header_value,
            "on_header_end": self._header_end, "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data, "on_part_end": self._part_end,
        }  # fmt: skip

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        headers, self._headers, self._text = self._headers, {}, bytearray()
        _, options = parse_options_header(headers.get(b"content-disposition"))
        self._name = text_of(options.get(b"name", b""))
        # A browser sends a field for files in which nobody has chosen one as a file without name.
        self._is_file = b"filename" in options
        if options.get(b"filename"):
            message = (
                f"{self._name} is a file, and no field takes one: the models of this line are asked in words alone"
            )
            raise Problem("unsupported_parameter", message, self._name)
        check_charset(MediaType.of(headers.get(b"content-type", b"").decode("latin-1")).charset, self._name)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._text += data[start:end]

    def _part_end(self) -> None:
        if self._name == CHARSET_FIELD:
            check_charset(text_of(self._text), CHARSET_FIELD)
        elif not (self._is_file and not self._text):
            self.pairs.append((self._name, text_of(self._text)))
        if len(self.pairs) > MOST_FIELDS:
            raise too_many()


def check_charset(name: str, where: str) -> None:
    """Raises `Problem` 415."""
    if not MediaType("", name.strip().lower()).is_utf_8:
        raise Problem("unsupported_media_type", f"charset = {shorten(name)}: text is UTF-8 here", where)


def text_of(data: bytes | bytearray) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise not_utf_8(error) from None


def not_utf_8(error: UnicodeDecodeError) -> Problem:
    return Problem("invalid_request", f"the form is not UTF-8: {error.reason} at byte {error.start} of a field")


def too_many() -> Problem:
    return Problem("invalid_request", f"a form has at most {MOST_FIELDS} fields")
