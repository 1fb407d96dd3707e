"""The `latentline` command. A command imports what it needs when it runs: help is fast, and only work loads torch."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from latentline.commands import (
    audit,
    demo,
    dlq,
    drain,
    jobs,
    keys,
    replay,
    services,
    stack,
    store,
    submit,
    tenants,
    watch,
)
from latentline.failures import Commands

app = typer.Typer(
    name="latentline", cls=Commands, no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]},
    help="A production line for text-to-video: prompts in, videos and completion events out.",
)  # fmt: skip


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and what libraries log.")] = False,
) -> None:
    """What libraries log is not for people; a service sends it to its own log as it starts."""
    if debug:
        logging.basicConfig(level=logging.DEBUG)
        return
    import structlog

    logging.basicConfig(handlers=[logging.NullHandler()])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


for command in (
    stack.up, stack.down, stack.doctor, submit.submit, watch.watch, jobs.jobs, jobs.show, jobs.cancel, jobs.download,
    replay.replay, audit.audit, store.gc, drain.drain, demo.demo, services.worker, services.coordinator, services.views,
    services.gateway, services.notifier, services.janitor,
):  # fmt: skip
    app.command()(command)
app.add_typer(stack.topics, name="topics")
app.add_typer(dlq.dlq, name="dlq")
app.add_typer(store.store, name="store")
app.add_typer(keys.keys, name="keys")
app.add_typer(tenants.tenants, name="tenants")


def main() -> None:
    """Exit codes: 0 it worked, 1 it did not, 2 wrong usage, 130 interrupted."""
    app()
