"""What belongs to a tenant as a whole: the secret that signs its webhooks, and how long its videos are kept."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from latentline import line
from latentline.terminal import echo

tenants = typer.Typer(no_args_is_help=True, help="What belongs to a tenant as a whole.")


@tenants.command("rotate-secret")
def rotate_secret(
    tenant: Annotated[str, typer.Argument(help="Whose signing secret of webhooks it is.")],
    at_once: Annotated[bool, typer.Option("--at-once", help="The old secret signs no more, not for a day.")] = False,
) -> None:
    """Give a tenant another secret for what goes to the `webhook_url` of its prompts.

    The secret is not shown here: the tenant reads it at `GET /v1/webhooks/default/secret`.
    """
    from pydantic import ValidationError

    from operations.tenants import rotate_webhook_secret

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


@tenants.command("set-retention")
def set_retention(
    tenant: Annotated[str, typer.Argument(help="Whose videos it is about.")],
    retention: Annotated[str, typer.Argument(
        metavar="CLASS", help="ephemeral (1 day), standard (30 days), keep; default: as the line has it."
    )],
    earlier: Annotated[bool, typer.Option(
        "--earlier", help="Of videos from before there were classes, counted from now; else of new jobs."
    )] = False,
) -> None:  # fmt: skip
    """Set how long a tenant's videos are kept.

    It holds for jobs that are accepted from now on and name no class themselves; what was accepted before stays as it
    is. Videos from before there were classes are kept until --earlier sets one for them.
    """
    from pydantic import ValidationError

    from operations.tenants import set_retention as put
    from schemas.retention import CLASSES, Retention

    names = [*CLASSES, "default"]
    if retention not in names:
        raise typer.BadParameter(f"{retention!r} is no class: {', '.join(names)}")
    chosen = None if retention == "default" else Retention(retention)
    try:
        put(line.settings(), tenant, chosen, earlier, time.time())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise typer.BadParameter(f"{first['loc'][0]}: {first['msg']}") from None
    whose = "videos from before there were classes" if earlier else "new jobs that name no class"
    echo(f"{whose} of tenant {tenant}: {retention}")
