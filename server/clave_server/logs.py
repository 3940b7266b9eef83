"""The relay's own log: one harmless line for each event, on a thread of its own. Knows no events."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog

from clave_server.sink import Sink
from clave_wire.text import sanitize

__all__ = ["configure_logs"]


class _SinkLogger:
    """What structlog hands finished lines to."""

    def __init__(self, sink: Sink[str]) -> None:
        self._sink = sink

    def msg(self, line: str) -> None:
        self._sink.put([line])

    info = warning = error = critical = exception = msg


def configure_logs(descriptor: int) -> Sink[str]:
    """Send structlog's events, info and above, to `descriptor`; stop the sink returned to flush them."""
    sink = Sink[str](
        descriptor,
        render=str,
        summarise=lambda count: f"{count} more log lines, too many to write\n",
        broken=lambda: None,  # there is no one left to tell
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=False),
            structlog.processors.format_exc_info,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _SinkLogger(sink),
        cache_logger_on_first_use=False,
    )
    return sink


def _render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    head = (str(event.pop("timestamp")), str(event.pop("level")), str(event.pop("event")))
    fields = (f"{key}={value}" for key, value in event.items())
    return "  ".join(sanitize(part) for part in (*head, *fields)) + "\n"
