"""What every model of the contract shares: frozen, closed for writers, open for readers."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, StrEnum
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, ParamSpec, Self, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # of any size, yet one that JSON libraries carry


Parts = ParamSpec("Parts")
Model = TypeVar("Model", bound="Frozen")
Members = TypeVar("Members", bound=Enum)


def plain_members(enum: type[Members]) -> type[Members]:
    """Members as plain attributes, as Python 3.12 keeps them: in 3.11 every look-up calls a function in Python.

    So does the look-up of a member's value in every version, and each word that is written is looked up.
    """
    for name, member in enum.__members__.items():
        type.__setattr__(enum, name, member)
    type.__setattr__(enum, "value", property(attrgetter("_value_")))
    return enum


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
        values = orjson.loads(data) if isinstance(data, bytes) else data
        read: Self = cls.__pydantic_validator__.validate_python(values, extra="ignore")
        return read

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields replaced, not validated: `model_copy` at half its cost.

        Which fields were set is not known of it: nothing here asks for it.
        """
        value = NEW(type(self))
        SET_PARTS(value, self.__dict__ | changes)
        SET_FIELDS_SET(value, NO_FIELDS)
        SET_EXTRA(value, None)
        SET_PRIVATE(value, None)
        return value

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, unset optional fields left out."""
        return orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)

    def to_dict(self) -> dict[str, Any]:
        """What JSON has of it, unset optional fields left out: `model_dump` without its own overhead."""
        values: dict[str, Any] = self.__pydantic_serializer__.to_python(self, mode="json", exclude_none=True)
        return values


def construct(model: Callable[Parts, Model], /, *_: Parts.args, **parts: Parts.kwargs) -> Model:
    """`model(**parts)` at a third of its cost, since nothing is validated: for parts of values that were.

    A type checker holds the parts against the model as it does where the model is called.
    """
    known: type[Model] = model  # type: ignore[assignment]
    value = NEW(known)
    SET_PARTS(value, defaults_of(known) | parts)
    SET_FIELDS_SET(value, NO_FIELDS)
    SET_EXTRA(value, None)
    SET_PRIVATE(value, None)
    return value


@cache
def defaults_of(model: type[Frozen]) -> dict[str, Any]:
    return {name: field.default for name, field in model.__pydantic_fields__.items() if not field.is_required()}


NEW, NO_FIELDS = object.__new__, set[str]()
SLOTS = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
SET_PARTS, SET_FIELDS_SET, SET_EXTRA, SET_PRIVATE = (vars(BaseModel)[slot].__set__ for slot in SLOTS)
"""All that pydantic keeps of a value, set directly: what `object.__setattr__` would look up each time.

`changed` and `made` write it out, since a call would cost as much as all of it.
"""
