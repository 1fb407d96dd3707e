"""What every model of the contract shares: frozen, closed for writers, open for readers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # of any size, yet one that JSON libraries carry


class OpenEnum(StrEnum):
    """An enum that a newer writer may extend: a value this reader has never heard of becomes `unknown`.

    Every subclass declares `UNKNOWN = "unknown"`.
    """

    __hash__ = str.__hash__  # of the text, as it compares; the enum's own is a Python call, a lookup each time

    @classmethod
    def _missing_(cls, value: object) -> Self:
        return cls("unknown")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Any text, since a reader takes any; today's values are examples."""
        return {"type": "string", "examples": [value.value for value in cls]}


class Frozen(BaseModel):
    """An immutable value. Building one forbids unknown fields; `read` ignores them.

    NaN and infinity are refused: JSON has neither, so they would come back as null.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def read(cls, data: bytes | dict[str, Any]) -> Self:
        """The value that a possibly newer writer wrote.

        Raises `pydantic.ValidationError` for a missing or wrong field, `orjson.JSONDecodeError` for bytes
        that are not JSON.
        """
        return cls.model_validate(orjson.loads(data) if isinstance(data, bytes) else data, extra="ignore")

    def changed(self, **changes: Any) -> Self:
        """A copy with some fields replaced, not validated: `model_copy` at half its cost.

        Which fields were set is not kept up to date: nothing here asks for it.
        """
        copy = object.__new__(type(self))
        set_part = object.__setattr__
        set_part(copy, "__dict__", self.__dict__ | changes)
        set_part(copy, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        set_part(copy, "__pydantic_extra__", None)
        set_part(copy, "__pydantic_private__", None)
        return copy

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, unset optional fields left out."""
        return orjson.dumps(self.model_dump(mode="json", exclude_none=True), option=orjson.OPT_SORT_KEYS)
