"""Sets up the relay's log: one sanitized line for each event, written by a thread. Knows no events."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import MutableMapping
from typing import Any

import structlog

from clave_server.observe.line_writer import LineWriter
from clave_server.option_values import LogFormat, LogLevel
from clave_wire.text import sanitize

__all__ = ["configure_logs"]


class _LineLogger:
    """The logger that structlog passes rendered lines to."""

    def __init__(self, writer: LineWriter[str]) -> None:
        self._writer = writer

    def msg(self, line: str) -> None:
        self._writer.put([line])

    info = warning = error = critical = exception = msg


def configure_logs(
    descriptor: int, level: LogLevel = LogLevel.INFO, form: LogFormat = LogFormat.TEXT
) -> LineWriter[str]:
    """Write structlog's events of `level` and above to `descriptor`; return the writer, to be stopped."""
    render = _render_json if form is LogFormat.JSON else _render
    writer = LineWriter[str](
        descriptor,
        render=str,
        summarise=lambda count: render(
            None,
            "",
            {"at": _now(), "level": "warning", "event": f"{count} more log lines, too many to write"},
        ),
        broken=lambda: None,  # there is nowhere to report it
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _stamp,
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _LineLogger(writer),
        cache_logger_on_first_use=False,
    )
    return writer


def _stamp(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["at"] = _now()
    return event


def _now() -> str:
    return dt.datetime.now().astimezone().isoformat(timespec="milliseconds")


def _render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    head = (str(event.pop("at")), str(event.pop("level")), str(event.pop("event")))
    fields = (f"{key}={value}" for key, value in event.items())
    return "  ".join(sanitize(part) for part in (*head, *fields)) + "\n"


def _render_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    head = {"at": event.pop("at"), "level": event.pop("level"), "event": event.pop("event")}
    return json.dumps({key: _plain(value) for key, value in (*head.items(), *event.items())}) + "\n"


def _plain(value: object) -> object:
    return value if isinstance(value, int | float) else sanitize(str(value), multiline=True)
