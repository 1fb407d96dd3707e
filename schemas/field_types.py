"""Types of what people and services write to the line: as lenient over HTTP as over Kafka, and as strict."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]*$")]
"""What people name things by: tenants, models, workers, endpoints."""

RANDOM = -1
"""How other tools of this trade ask for any seed."""


def without_nulls(fields: Any) -> Any:
    """An object's fields that are set."""
    if isinstance(fields, dict) and None in fields.values():
        return {name: value for name, value in fields.items() if value is not None}
    return fields


def few(most: int) -> BeforeValidator:
    """Holds an object's names to a number before any of them is looked at."""

    def check(fields: Any) -> Any:
        if isinstance(fields, dict) and len(fields) > most:
            has = {"has": len(fields), "most": most}
            raise PydanticCustomError("too_long", "it has {has} names, at most {most}", has)
        return without_nulls(fields)

    return BeforeValidator(check)


def unbroken(text: str) -> str:
    """Raises `PydanticCustomError` for half of a surrogate pair, which no encoder takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = "it has half of a character, or bytes that are not UTF-8, at {place}"
        raise PydanticCustomError("string_unicode", message, {"place": error.start}) from None
    return text


def seed_or_none(seed: int) -> int | None:
    return None if seed == RANDOM else seed


Text = Annotated[str, AfterValidator(unbroken)]
Seed = Annotated[int, Field(ge=-(2**63), le=2**64 - 1), AfterValidator(seed_or_none)]
"""Any that JSON libraries carry; -1 is as unset, whichever tool wrote it. The limits say which are seeds."""
