"""What tenants write does nothing to the terminal of an operator, whatever command shows it."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import structlog
import typer.main
from pydantic import ValidationError
from typer.testing import CliRunner

from infra.local.finding import Finding
from infra.local.stack import StackError
from latentline import display, line
from latentline.job_table import Board
from latentline.main import app
from latentline.summary import Summary
from operations.audit.object_places import Kind
from operations.audit.report import Compute, Report, Violation
from operations.dead_letters.records import DeadLetterRecord
from operations.gc.plan import Usage
from operations.workers import Heard
from runtime import logs
from runtime.settings import Settings
from schemas.errors import ErrorKind, ErrorReport
from schemas.events.completions import JobCancelled, JobFailed
from schemas.events.prompts import CancelRequested, PromptSubmitted
from schemas.events.reports import DrainRequested, Heartbeat, HeldLease, HeldState
from schemas.events.tenants import ApiKey
from schemas.job import Attempt, JobStatus
from schemas.printable import BIDI, CONTROLS, SURROGATES, printable, printable_json
from schemas.stage import Stage
from streams.client.submit import Submitted
from streams.client.updates import Changed, Ended
from streams.kafka.errors import ClientError
from tests.unit.latentline.test_job_table import JOB, RECIPE, state

HOSTILE = "\x1b]0;owned\x07\x1b[31m\x9b2J\x85\u202eevil\u2066\x7f\x08\u2028\rover [red]markup[/red] :smile:\nFORGED"
ACTING = {chr(code) for code in (*CONTROLS, *BIDI)} - {"\n"}
ERROR = ErrorReport(kind=ErrorKind.BUG, code="bug", message=HOSTILE)
SETTINGS = Settings()


def attempt() -> Attempt:
    return Attempt(
        stage=Stage.ENCODE, lease=1, worker=HOSTILE, outcome="failed", dispatched_at=1.8e9, ended_at=1.8e9, error=ERROR
    )


STATES = [
    state(JobStatus.FAILED, error=ERROR, ended_at=1.8e9, tenant=HOSTILE, metadata={HOSTILE: HOSTILE},
          attempts=(attempt(),), recipe=RECIPE.model_copy(update={"prompt": HOSTILE, "model": HOSTILE})),
    state(JobStatus.CANCELLED, job=JOB[:-1] + "5", cancel_reason=HOSTILE, ended_at=1.8e9),
    state(JobStatus.WAITING, job=JOB[:-1] + "6", attempts=(attempt(),)),
]  # fmt: skip
SNAPSHOT = {each.job: each for each in STATES}
LETTER = DeadLetterRecord(
    place="0/1", reason=HOSTILE, message=HOSTILE, origin=HOSTILE, time=1.8e9,
    value=orjson.dumps({"tenant": HOSTILE}) + HOSTILE.encode() + b"\xff", headers=[(HOSTILE, HOSTILE.encode())],
)  # fmt: skip
JSON_LETTER = DeadLetterRecord("0/2", "not_json", HOSTILE, "prompts/0/1", 1.8e9, orjson.dumps({"tenant": HOSTILE}))
BEAT = Heartbeat(
    incarnation="i", worker=HOSTILE, node="n", started_at=1.0, inboxes=(), slots=1, draining=True,
    leases=(HeldLease(lease=1, job=HOSTILE, stage=Stage.MUX, state=HeldState.RUNNING),),
)  # fmt: skip
KEY = ApiKey(id="key_" + "0" * 16, tenant="acme", digest="d", name=HOSTILE, created_at=1.8e9)
FAILED = JobFailed(job=JOB, tenant=HOSTILE, accepted_at=1.8e9, ended_at=1.8e9, error=ERROR)
STOPPED = JobCancelled(job=JOB[:-1] + "5", tenant="acme", accepted_at=1.8e9, ended_at=1.8e9, reason=HOSTILE)


class Following:
    """A `Follower` of jobs that have ended hostilely."""

    def __init__(self, settings: Settings) -> None:
        self.jobs = SNAPSHOT

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def updates(self, *_: object) -> Iterator[Changed | Ended]:
        yield from map(Changed, STATES)
        yield from (Ended(FAILED.job, JobStatus.FAILED, FAILED), Ended(STOPPED.job, JobStatus.CANCELLED, STOPPED))

    def states_of(self, *_: object) -> dict[str, Any]:
        return SNAPSHOT


class Roll:
    def __init__(self, settings: Settings) -> None:
        pass

    def __enter__(self) -> Roll:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def names(self) -> list[str]:
        return [HOSTILE, "denoise"]

    def ask_to_leave(self, worker: str, reason: str) -> None:
        DrainRequested(worker=worker, reason=reason)

    def wait_drained(self, *_: object) -> Iterator[Heard]:
        yield Heard(BEAT, 0)


def given(value: object) -> Callable[..., Any]:
    return lambda *_, **__: value


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.fixture(autouse=True)
def hostile_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A line in which every text is hostile."""
    report = Report({HOSTILE: 1}, 1, Compute(1.0, {HOSTILE: 1.0}), (Violation(HOSTILE, HOSTILE, HOSTILE),))
    place = SimpleNamespace(folder=f"artifacts/{HOSTILE}", tenant=HOSTILE, stage=HOSTILE)
    ref = SimpleNamespace(name=HOSTILE, size=1, key=HOSTILE)
    replaced: dict[str, object] = {
        "streams.client.snapshot.snapshot": given(SNAPSHOT),
        "operations.dead_letters.records.dead_letters": given([LETTER, JSON_LETTER]),
        "streams.client.follow.Follower": Following,
        "operations.workers.WorkerRegistry": Roll,
        "operations.tenants.read_keys": given([KEY]),
        "operations.tenants.put_key": given(None),
        "operations.tenants.rotate_webhook_secret": failing(ClientError(HOSTILE)),
        "operations.tenants.set_retention": failing(ClientError(HOSTILE)),
        "streams.client.submit.submit": given([Submitted(JOB, "1", PromptSubmitted(prompt="a", idempotency_key="k"))]),
        "streams.client.submit.cancel": lambda _, job, tenant, reason: CancelRequested(job=job, reason=reason),
        "operations.audit.run.audit": given(report),
        "operations.gc.snapshot.see": given(SimpleNamespace(listing=None, references=None)),
        "operations.gc.plan.usage": given({(HOSTILE, HOSTILE, next(iter(Kind))): Usage(1, 1)}),
        "operations.gc.collector.collect": given([SimpleNamespace(place=place, why="old", keys=(HOSTILE,), size=1)]),
        "infra.local.doctor.check": given([Finding(HOSTILE, False, HOSTILE, HOSTILE)]),
        "infra.local.topics.check": given([HOSTILE]),
        "infra.local.topics.apply": failing(StackError(HOSTILE)),
        "infra.local.stack.Stack.up": failing(StackError(HOSTILE)),
        "infra.local.stack.Stack.down": failing(StackError(HOSTILE)),
        "latentline.videos.artifacts": given({Stage.MUX: [ref]}),
    }
    for name, value in replaced.items():
        monkeypatch.setattr(name, value)
    monkeypatch.setattr(line, "settings", given(SETTINGS))
    monkeypatch.setattr(line, "store", given(None))
    monkeypatch.chdir(tmp_path)
    Path("hostile.jsonl").write_bytes(orjson.dumps({"prompt": "a", HOSTILE: HOSTILE}))


COMMANDS = [
    ("jobs",), ("jobs", "--json"), ("show", JOB), ("show", JOB[:-1] + "5"), ("show", JOB[:-1] + "6"),
    ("watch",), ("watch", "--json"), ("watch", JOB), ("cancel", JOB), ("cancel", JOB[:-1] + "6", "--reason", HOSTILE),
    ("download", JOB), ("replay", JOB, "--from", "mux"), ("replay", JOB[:-1] + "6", "--from", "mux"),
    ("dlq", "list"), ("dlq", "list", "--json"), ("dlq", "show", "0/1"), ("dlq", "show", "0/1", "--json"),
    ("dlq", "redrive", "--all", "--dry-run"), ("dlq", "drop", "--all", "--dry-run"),
    ("keys", "list"), ("keys", "list", "--json"), ("keys", "revoke", KEY.id), ("keys", "create", HOSTILE),
    ("keys", "create", "acme"), ("tenants", "rotate-secret", "acme"),
    ("tenants", "set-retention", HOSTILE, "keep"), ("tenants", "set-retention", "acme", HOSTILE),
    ("audit",), ("audit", "--json"), ("store", "usage"), ("store", "usage", "--json"), ("gc",), ("gc", "--json"),
    ("drain", "denoise"), ("drain", HOSTILE), ("drain", "other"), ("drain", "denoise", "--reason", HOSTILE),
    ("doctor",), ("topics", "check"), ("topics", "apply"), ("up",), ("down",), ("demo",),
    ("submit", "a", "--idempotency-key", HOSTILE), ("submit", "--file", "hostile.jsonl"),
    ("submit", "a", "--metadata", f"{HOSTILE}=1"), ("submit", "a", "--metadata", f"name={HOSTILE}"),
    ("submit", "a", "--watch"), ("submit", "a", "--watch", "--json"),
]  # fmt: skip
SERVICES = {"worker", "coordinator", "views", "gateway", "notifier", "janitor"}
"""What they write is their log."""


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments)[:40].encode("unicode_escape"))
def test_no_command_lets_it_through(arguments: tuple[str, ...]) -> None:
    said = CliRunner().invoke(app, arguments)
    assert not ACTING & set(said.output), said.output.encode("unicode_escape")
    # Typer itself frames what it says of a wrong option.
    assert said.exception is None or isinstance(said.exception, SystemExit), said.exception
    assert said.output


@pytest.mark.parametrize(
    "arguments",
    [("jobs",), ("show", JOB), ("watch",), ("dlq", "redrive", "--all", "--dry-run"), ("keys", "list"),
     ("dlq", "drop", "--all", "--dry-run"), ("audit",), ("store", "usage"), ("gc",), ("drain", "denoise")],
    ids=" ".join,
)  # fmt: skip
def test_it_forges_no_line_and_no_style(arguments: tuple[str, ...]) -> None:
    said = CliRunner().invoke(app, arguments).output
    assert "FORGED" in said
    assert not [text for text in said.splitlines() if text.lstrip().startswith("FORGED")]
    assert "[red]markup[/red] :smile:" in said


def test_a_dead_letter_is_one_line_of_the_list() -> None:
    listed = CliRunner().invoke(app, ("dlq", "list")).output.splitlines()
    assert len(listed) == 3, listed


def test_every_command_is_walked() -> None:
    groups = {"topics", "dlq", "store", "keys", "tenants"}
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    wanted: set[tuple[str, ...]] = {(name,) for name in commands if name not in groups | SERVICES}
    wanted |= {(group, name) for group in groups for name in commands[group].commands}
    walked = {arguments[: 2 if arguments[0] in groups else 1] for arguments in COMMANDS}
    assert walked == wanted


def test_there_is_one_way_out() -> None:
    """Text leaves by `echo` or by a console of `display`, which let nothing through."""
    for file in Path(display.__file__).parent.rglob("*.py"):
        text = file.read_text()
        assert "typer.echo(" not in text or file.name == "terminal.py", file
        assert not [each for each in text.splitlines() if each.lstrip().startswith("print(")], file
        assert "Console(" not in text or file.name == "display.py", file


@pytest.mark.parametrize("arguments", [("jobs", "--json"), ("watch", "--json"), ("dlq", "list", "--json")])
def test_json_is_exact(arguments: tuple[str, ...]) -> None:
    lines = [orjson.loads(text) for text in CliRunner().invoke(app, arguments).stdout.splitlines()]
    assert HOSTILE in str(lines[0].values()).encode().decode("unicode_escape") or HOSTILE in texts(lines)


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for part in (*value, *value.values()) for text in texts(part)]
    return [text for part in value for text in texts(part)] if isinstance(value, list) else [value]


def test_a_live_table_and_a_summary_let_nothing_through() -> None:
    board = Board()
    for each in STATES:
        board.take(Changed(each))
    board.expect("video_0", HOSTILE, 1.8e9)
    out = io.StringIO()
    terminal = display.Terminal(file=out, force_terminal=True, color_system=None, width=300, markup=False, emoji=False)
    terminal.print(display.live_table(board, 1.8e9, 20, 300))
    terminal.print(display.summary_table([Summary(HOSTILE, FAILED)]))
    assert not ACTING & set(out.getvalue())
    assert not [text for text in out.getvalue().splitlines() if text.lstrip().startswith("FORGED")]


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_log_lets_nothing_through(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.configure(Settings(log_format=form), "test")
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            structlog.get_logger().exception(HOSTILE, job=HOSTILE, nested={HOSTILE: [HOSTILE]})
        logging.getLogger("a.library").warning("%s", HOSTILE)
    finally:
        root.handlers[:], root.level = before
        logging.captureWarnings(False)
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert not ACTING & set(said), said.encode("unicode_escape")
    if form == "json":
        first = orjson.loads(said.splitlines()[0])
        assert (first["event"], first["job"]) == (HOSTILE, HOSTILE)


def test_what_is_printable_stays_as_it_is() -> None:
    ordinary = "größer 文字 \u0639\u200f\u200d\U0001f469 \\x1b [a] :b:"
    assert printable(ordinary) == printable(ordinary, lines=True) == printable_json(ordinary) == ordinary
    assert printable("a\n\tb") == "a\\n\\tb"
    assert printable("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"
    assert printable("\ud800\u202e\x9b") == "\\ud800\\u202e\\x9b"
    for code in (*CONTROLS, *BIDI, *SURROGATES):
        assert printable(chr(code)).isascii()
        assert printable(chr(code)).isprintable()


@pytest.mark.parametrize("text", ["a\x1b", "a\nb", "a\x9b", "\u202ea", "\x00", "a\u2028", "\x7f"])
def test_reasons_and_names_with_such_characters_are_refused(text: str) -> None:
    for make in (
        lambda: CancelRequested(job=JOB, reason=text),
        lambda: DrainRequested(worker="w", reason=text),
        lambda: PromptSubmitted(prompt="a", metadata={text: "value"}),
    ):
        with pytest.raises(ValidationError, match="leave it out"):
            make()


def test_values_have_lines_and_any_order_of_writing_and_nothing_that_acts() -> None:
    kept = "first\r\n\tsecond \u2067\u05d0\u2069"
    assert PromptSubmitted(prompt="a", metadata={"note": kept}).metadata["note"] == kept
    for text in ("\x1b", "\x9b", "\x00", "\x7f", "\u2028"):
        with pytest.raises(ValidationError, match="character 2 is"):
            PromptSubmitted(prompt="a", metadata={"note": f"a{text}"})
