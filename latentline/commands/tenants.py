"""What belongs to a tenant as a whole: the secret that signs what goes to the `webhook_url` of its prompts."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from latentline import line
from latentline.terminal import echo

tenants = typer.Typer(no_args_is_help=True, help="What belongs to a tenant as a whole.")


@tenants.callback()
def options() -> None:
    """Named although there is one command: others will stand beside it."""


@tenants.command("rotate-secret")
def rotate_secret(
    tenant: Annotated[str, typer.Argument(help="Whose signing secret of webhooks it is.")],
    at_once: Annotated[bool, typer.Option("--at-once", help="The old secret signs no more, not for a day.")] = False,
) -> None:
    """Give a tenant another secret for what goes to the `webhook_url` of its prompts.

    The secret is not shown here: the tenant reads it at `GET /v1/webhooks/default/secret`.
    """
    from pydantic import ValidationError

    from streams.client.tenants import rotate_webhook_secret

    try:
        rotated = rotate_webhook_secret(line.settings(), tenant, time.time(), keep_old=not at_once)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise typer.BadParameter(f"{first['loc'][0]}: {first['msg']}") from None
    former = rotated.former_secret_until
    old = "signs no more" if former is None else f"signs as well until {moment(former)} UTC"
    echo(f"the webhook secret of tenant {tenant} is now number {rotated.generation}; the one before {old}")


def moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))
