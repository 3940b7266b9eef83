"""Sets up the relay's log: one sanitized line for each event, written by a thread. Knows no events."""

from __future__ import annotations

import datetime as dt
import json
import logging
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog

from clave_server.observe.line_output import LineOutput
from clave_server.observe.line_writer import Gap, LineWriter
from clave_server.option_values import LogFormat, LogLevel
from clave_wire.text import sanitize

__all__ = ["configure_logs"]


class _LineLogger:
    """The logger that structlog passes rendered lines to."""

    def __init__(self, writer: LineWriter[str]) -> None:
        self._writer = writer

    def msg(self, line: str) -> None:
        self._writer.put([line])

    debug = info = warning = error = critical = exception = msg


class _Forwarder(logging.Handler):
    """Takes over what asyncio would print as it is, such as "socket.send() raised exception.".

    Of an exception its class and place; not its text, nor what asyncio says after the first line, as they
    may hold what is secret.
    """

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        write = log.error if record.levelno >= logging.ERROR else log.debug
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            write(record.getMessage(), by=record.name)
        else:
            event, _, _ = record.getMessage().partition("\n")
            write(event, by=record.name, error=type(error).__qualname__, **_place(error))


def _place(error: BaseException) -> dict[str, str]:
    """Return where in the code `error` was raised, if that is known."""
    frames = traceback.extract_tb(error.__traceback__)
    return {"where": f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}"} if frames else {}


class _Nobody:
    """Hears of the log's failures: there is nowhere to report them but the log, once it works again."""

    def failed(self, reason: str) -> None:
        pass

    def recovered(self, lost: int) -> None:
        pass

    def ended(self) -> None:
        pass

    def not_reopened(self, reason: str) -> None:
        structlog.get_logger().error("log file not opened anew, the former one stays", reason=reason)


def configure_logs(
    output: LineOutput, level: LogLevel = LogLevel.INFO, form: LogFormat = LogFormat.TEXT
) -> LineWriter[str]:
    """Write structlog's events of `level` and above to `output`; return the writer, to be stopped."""
    render = _render_json if form is LogFormat.JSON else _render
    writer = LineWriter[str](
        output,
        render=str,
        summarise=lambda gap: render(None, "", {"at": _now(), "level": "warning", "event": _summary(gap)}),
        listener=_Nobody(),
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
    logging.getLogger("asyncio").handlers = [_Forwarder()]
    logging.getLogger("asyncio").propagate = False
    return writer


def _summary(gap: Gap) -> str:
    if gap.reason:
        return f"{gap.lines} log lines lost, as they could not be written: {gap.reason}"
    return f"{gap.lines} more log lines, too many to write"


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
