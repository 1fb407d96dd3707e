"""Logs: one JSON object a line for machines, aligned and coloured lines on a terminal, on standard error.

What libraries log through `logging` (librdkafka, urllib3, Faust) takes the same way out. Every process calls
`configure` once at its start, a forked child too.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import orjson
import structlog
from pydantic import SecretStr
from structlog.types import EventDict, Processor, WrappedLogger

from runtime.settings import Settings
from schemas.printable import printable, printable_json

REDACTED = "***"
NUMBERS, SEQUENCES = (int, float, type(None)), (list, tuple)
"""Named once: a union of types that is written where it is asked for is made anew for each value of each line."""
SECRET_NAME = re.compile(r"secret|passw|authorization|credential|access_key|api_key|(^|_)token$", re.IGNORECASE)
TRACEBACKS = ("exception", "stack")
CHATTY = ("aiokafka", "faust", "mode", "urllib3", "asyncio")
"""Libraries whose everyday lines hide ours: from these only warnings and worse."""


def configure(settings: Settings, service: str) -> None:
    """Send structlog and `logging` to standard error in the format and from the level that the settings say.

    Every line carries timestamp, level, logger, service and pid, and what `of_job` or
    `structlog.contextvars.bind_contextvars` bound.
    """
    human = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Constant(service=service, pid=os.getpid()),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(shared, Redactor.of(settings), human))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    logging.captureWarnings(True)
    # No line says any of these, and finding them out costs a quarter of it (the logging HOWTO's "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))


def _console() -> Processor:
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _formatter(shared: list[Processor], redact: Processor, human: bool) -> logging.Formatter:
    last: list[Processor] = (
        [_legible, _console()] if human else [structlog.processors.JSONRenderer(serializer=_to_json)]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,
            *last,
        ],
    )


def of_job(job: str, stage: str | None = None, attempt: int | None = None, traceparent: str | None = None,
           **more: Any) -> AbstractContextManager[None]:  # fmt: skip
    """While it is entered, every line of this thread or task says which job, stage and attempt it is about."""
    named = {"job": job, "stage": stage, "attempt": attempt, "trace_id": trace_id(traceparent)}
    return structlog.contextvars.bound_contextvars(**{k: v for k, v in named.items() if v is not None}, **more)


def trace_id(traceparent: str | None) -> str | None:
    """The trace id of a W3C `traceparent`, None where it has none."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else None


class Redactor:
    """Hides what is called like a secret, and every secret of the settings wherever its text turns up."""

    def __init__(self, secrets: frozenset[str]) -> None:
        self.secrets = secrets

    @classmethod
    def of(cls, settings: Settings) -> Redactor:
        values = (getattr(settings, name) for name in type(settings).model_fields)
        texts = (value.get_secret_value() for value in values if isinstance(value, SecretStr))
        return cls(frozenset(text for text in texts if text))

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {name: self.clean(name, value) for name, value in event.items()}

    def clean(self, name: str, value: Any) -> Any:
        if sounds_secret(name):
            return REDACTED
        if isinstance(value, NUMBERS):
            return value
        if isinstance(value, dict):
            return {str(key): self.clean(str(key), part) for key, part in value.items()}
        if isinstance(value, SEQUENCES):
            return [self.clean(name, part) for part in value]
        text = str(value)
        for secret in self.secrets:
            if secret in text:
                text = text.replace(secret, REDACTED)
        return text


@lru_cache(maxsize=1024)
def sounds_secret(name: str) -> bool:
    return SECRET_NAME.search(name) is not None


class _Constant:
    """Adds the same fields to every line."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event.update(self.fields)
        return event


def _legible(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """What others have written can do nothing to the terminal, nor look like a line of its own; tracebacks keep theirs.

    Of what is nested the renderer shows a `repr`, which escapes all that cannot be printed.
    """
    return {
        printable(name): printable(value, lines=name in TRACEBACKS) if isinstance(value, str) else value
        for name, value in event.items()
    }


def _to_json(event: EventDict, **options: Any) -> str:
    return printable_json(orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode())
