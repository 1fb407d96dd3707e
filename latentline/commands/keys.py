"""API keys of the gateway: made, listed, revoked. Every gateway of the line knows within a moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from latentline import line
from latentline.failures import CommandFailed
from latentline.terminal import echo
from schemas.printable import printable

if TYPE_CHECKING:
    from schemas.events.tenants import ApiKey

keys = typer.Typer(no_args_is_help=True, help="API keys of the gateway's tenants.")


@keys.command("create")
def create(
    tenant: Annotated[str, typer.Argument(help="Whose key it is; jobs belong to tenants.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Make a key.

    It is printed once, on standard output, and is nowhere else.
    """
    from pydantic import ValidationError

    from gateway.api_keys import new_key
    from operations.tenants import put_key

    settings = line.settings()
    try:
        key, kept = new_key(tenant, name, time.time(), settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise typer.BadParameter(f"{first['loc'][0]}: {first['msg']}") from None
    put_key(settings, kept)
    echo(f"{kept.id} of tenant {kept.tenant}; the key is shown this once:", err=True)
    echo(key)


@keys.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="JSON for programs.")] = False) -> None:
    """List the keys, oldest first; what is left of them is their hash."""
    from latentline.output import to_json
    from operations.tenants import read_keys

    for key in read_keys(line.settings()):
        echo(to_json(key) if as_json else described(key))


@keys.command("revoke")
def revoke(key: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `keys list` names it.")]) -> None:
    """End a key: requests that carry it get 401 within a moment."""
    from operations.tenants import put_key, read_keys

    settings = line.settings()
    found = next((each for each in read_keys(settings) if each.id == key), None)
    if found is None:
        raise CommandFailed(f"no key {key}: `latentline keys list` has them")
    if found.revoked_at is None:
        put_key(settings, found.model_copy(update={"revoked_at": time.time()}))
    echo(f"{key} is revoked")


def described(key: ApiKey) -> str:
    made = time.strftime("%Y-%m-%d %H:%M", time.gmtime(key.created_at))
    state = "revoked" if key.revoked_at is not None else "valid"
    return f"{key.id}  {key.tenant}  {state}  made {made} UTC  {printable(key.name)}".rstrip()
