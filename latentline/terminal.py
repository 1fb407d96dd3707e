"""The one way out of every command: what tenants have written can do nothing to the terminal of who reads it."""

from __future__ import annotations

import typer

from schemas.printable import printable


def echo(text: str = "", err: bool = False) -> None:
    """Text in lines, on standard output or standard error, at once."""
    typer.echo(printable(text, lines=True), err=err)
