"""One line, one JSON object; libraries' lines too; never a secret."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
import structlog
from pydantic import SecretStr

from runtime import logs
from runtime.settings import Settings

SECRET = "correct-horse-battery"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Logging is global: leave it as it was for the tests that follow."""
    root = logging.getLogger()
    level = root.level
    yield
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = [h for h in root.handlers if not isinstance(h.formatter, structlog.stdlib.ProcessorFormatter)]
    root.setLevel(level)
    for name in logs.CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET)


def configure(**settings: Any) -> None:
    """From inside the test: what a fixture sees as standard error is closed by then."""
    logs.configure(Settings(store_secret_key=SecretStr(SECRET), **{"log_format": "json"} | settings), "encode")


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    return lambda: [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_a_json_object_with_its_service(lines: Lines) -> None:
    configure()
    structlog.get_logger("streams.worker").info("task taken", lease=7)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line.pop("pid") > 0
    assert line == {
        "event": "task taken", "lease": 7, "level": "info", "logger": "streams.worker", "service": "encode",
    }  # fmt: skip


def test_a_line_inside_a_job_names_it_and_one_outside_does_not(lines: Lines) -> None:
    configure()
    with logs.of_job("video_1", stage="denoise", attempt=2, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01"):
        logging.getLogger("a.library").info("inside")
    structlog.get_logger().info("outside")
    inside, outside = lines()
    assert (inside["job"], inside["stage"], inside["attempt"], inside["trace_id"]) == ("video_1", "denoise", 2, TRACE)
    assert "job" not in outside


@pytest.mark.parametrize("traceparent", [None, "", "garbage", "00-short-00f067aa0ba902b7-01"])
def test_no_trace_id_without_a_valid_parent(traceparent: str | None) -> None:
    assert logs.trace_id(traceparent) is None


def test_libraries_take_the_same_way_out(lines: Lines) -> None:
    configure()
    logging.getLogger("librdkafka").warning("FAIL [%s]: refused", "thrd:1")
    (line,) = lines()
    assert line["event"] == "FAIL [thrd:1]: refused"
    assert (line["logger"], line["level"], line["service"]) == ("librdkafka", "warning", "encode")


def test_everyday_lines_of_chatty_libraries_are_dropped(lines: Lines) -> None:
    configure(log_level="debug")
    logging.getLogger("urllib3.connectionpool").info("GET /")
    logging.getLogger("streams.worker").debug("ours")
    assert [line["event"] for line in lines()] == ["ours"]


def test_lines_below_the_level_are_dropped(lines: Lines) -> None:
    configure(log_level="warning")
    structlog.get_logger().info("hidden")
    structlog.get_logger().warning("shown")
    assert [line["event"] for line in lines()] == ["shown"]


def test_secrets_are_hidden_by_name_and_by_value(lines: Lines) -> None:
    configure()
    logger = structlog.get_logger()
    logger.info(
        "by name", secret_key="hunter2", webhook_token="x", tokens=12, nested={"Authorization": "Bearer x", "size": 3}
    )
    logger.info(f"by value: {SECRET}", tried=[f"key={SECRET}"])
    try:
        raise ValueError(f"refused {SECRET}")
    except ValueError:
        logger.exception("in a traceback")
    by_name, by_value, traceback = lines()
    assert by_name["secret_key"] == by_name["webhook_token"] == logs.REDACTED
    assert by_name["tokens"] == 12
    assert by_name["nested"] == {"Authorization": logs.REDACTED, "size": 3}
    assert by_value["event"] == f"by value: {logs.REDACTED}"
    assert by_value["tried"] == [f"key={logs.REDACTED}"]
    assert f"ValueError: refused {logs.REDACTED}" in traceback["exception"]


def test_people_get_a_line_they_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format="console")
    try:
        raise ValueError(f"refused {SECRET}")
    except ValueError:
        structlog.get_logger().exception("task failed", job="video_1")
    text = capsys.readouterr().err
    assert "task failed" in text
    assert "job=video_1" in text
    assert f"ValueError: refused {logs.REDACTED}" in text
    assert SECRET not in text


@pytest.mark.parametrize("terminal", [True, False])
def test_auto_looks_at_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    configure(log_format="auto")
    structlog.get_logger().info("hello")
    assert capsys.readouterr().err.startswith("{") is not terminal
