"""The relay's log: its lines and levels; control characters are escaped."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
from pathlib import Path

import pytest
import structlog

from clave_server.observe.line_output import LineOutput
from clave_server.observe.logging_setup import configure_logs
from clave_server.option_values import LogFormat, LogLevel

HOSTILE = "\x1b]52;c;AAAA\x07\u202ered\nsecond line"


def logged(path: Path, level: LogLevel, form: LogFormat) -> list[str]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    writer = configure_logs(LineOutput(descriptor), level, form)
    log = structlog.get_logger()
    log.info("first", name=HOSTILE, count=3)
    log.warning("second")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("third")
    writer.stop(timeout=10)
    os.close(descriptor)
    structlog.reset_defaults()
    text = path.read_text()
    assert text.replace("\n", "").isprintable()
    return text.splitlines()


@pytest.mark.parametrize("level", LogLevel)
def test_events_below_the_level_are_not_logged(tmp_path: Path, level: LogLevel) -> None:
    lines = logged(tmp_path / "log", level, LogFormat.TEXT)
    wanted = {LogLevel.DEBUG: 3, LogLevel.INFO: 3, LogLevel.WARNING: 2, LogLevel.ERROR: 1}[level]
    assert len(lines) == wanted


def test_a_text_line_has_time_level_and_event(tmp_path: Path) -> None:
    first, second, third = logged(tmp_path / "log", LogLevel.INFO, LogFormat.TEXT)
    at, level, event, *fields = first.split("  ")
    assert dt.datetime.fromisoformat(at).tzinfo is not None
    assert (level, event) == ("info", "first")
    assert fields == ["name=<U+001B>]52;c;AAAA<U+0007><U+202E>red<U+000A>second line", "count=3"]
    assert second.endswith("  warning  second")
    assert "Traceback" in third


def test_a_json_line_has_its_fields(tmp_path: Path) -> None:
    first, second, third = map(json.loads, logged(tmp_path / "log", LogLevel.INFO, LogFormat.JSON))
    assert dt.datetime.fromisoformat(first["at"]).tzinfo is not None
    assert first["name"] == "<U+001B>]52;c;AAAA<U+0007><U+202E>red\nsecond line"
    assert (first["count"], first["level"], first["event"]) == (3, "info", "first")
    assert list(second) == ["at", "level", "event"]
    assert "Traceback" in third["exception"]


def test_what_asyncio_prints_is_a_line_of_the_log(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT, 0o600)
    writer = configure_logs(LineOutput(descriptor), LogLevel.DEBUG, LogFormat.JSON)
    logger = logging.getLogger("asyncio")
    logger.warning("socket.send() raised %s.", "exception")
    logger.error("worse")
    try:
        int("hunter2")
    except ValueError as error:
        logger.error("Task exception was never retrieved\nfuture: %r", error, exc_info=error)  # noqa: TRY400
    writer.stop(timeout=10)
    os.close(descriptor)
    structlog.reset_defaults()
    logger.handlers, logger.propagate = [], True
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("debug", "socket.send() raised exception."),
        ("error", "worse"),
        ("error", "Task exception was never retrieved"),
    ]
    assert lines[2]["error"] == "ValueError"
    assert lines[2]["where"].endswith("in test_what_asyncio_prints_is_a_line_of_the_log")
    assert "hunter2" not in (tmp_path / "log").read_text()
