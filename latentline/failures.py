"""What goes wrong becomes one clear line on standard error and an exit code; `--debug` shows where it came from."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from latentline.terminal import echo
from schemas.printable import printable

WRONG_USAGE = 2


class CommandFailed(Exception):
    """A command could not do what it was asked to; the message is for the person who asked."""


class Commands(TyperGroup):
    """The group of all commands. What typer itself raises (usage, exit, Ctrl-C) is left to it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(error, typer.BadParameter):
                error.message = printable(error.message, lines=True)
            if ctx.params["debug"] or type(error).__module__.startswith("typer") or isinstance(error, BrokenPipeError):
                raise
            echo(f"error: {line_of(error)}", err=True)
            raise typer.Exit(exit_code(error)) from None


def line_of(error: Exception) -> str:
    """The message of an error that is meant for people; anything else is named as what it is."""
    if is_settings_error(error):
        return settings_line(error)
    if is_store_error(error):
        return f"the store does not answer: {error}. `latentline doctor` tells more"
    if is_expected(error):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}. `latentline --debug ...` shows where it came from"


def exit_code(error: Exception) -> int:
    return WRONG_USAGE if is_settings_error(error) else 1


def is_expected(error: Exception) -> bool:
    from infra.local.stack import StackError
    from schemas.errors import LatentlineError
    from streams.kafka.clients import FatalClientError
    from streams.kafka.errors import ClientError

    return isinstance(error, CommandFailed | StackError | ClientError | LatentlineError | FatalClientError)


def is_store_error(error: Exception) -> bool:
    from schemas.errors import StoreUnavailable

    return isinstance(error, StoreUnavailable)


def refused(error: Any, option: str) -> typer.BadParameter:
    """What a model says of the value of an option."""
    return typer.BadParameter(error.errors(include_url=False)[0]["msg"], param_hint=option)


def is_settings_error(error: Exception) -> bool:
    from pydantic import ValidationError

    return isinstance(error, ValidationError) and error.title == "Settings"


def settings_line(error: Any) -> str:
    """Names the environment variable, since that is where a person has set it."""
    first = error.errors(include_url=False)[0]
    name = "_".join(str(part) for part in first["loc"]).upper()
    return f"LATENTLINE_{name.removeprefix('LATENTLINE_')}: {first['msg'].removeprefix('Value error, ')}"
