"""The values that an operator's options and requests may have. Imports nothing, as `--help` needs it."""

from __future__ import annotations

import enum
from typing import Final

__all__ = [
    "MAX_COUNT",
    "MAX_DAYS",
    "MAX_NOTE_CHARACTERS",
    "MAX_USES",
    "LogFormat",
    "LogLevel",
    "MirrorMode",
    "RegistrationMode",
]

MAX_COUNT: Final = 2**53 - 1
"""The largest number in a request: what every JSON reader represents exactly."""

MAX_DAYS: Final = 36_500
MAX_USES: Final = 10**9
MAX_NOTE_CHARACTERS: Final = 1000


class RegistrationMode(enum.StrEnum):
    """Who may register a new name."""

    OPEN = "open"
    TOKEN = "token"  # noqa: S105  (a mode, not a password)
    CLOSED = "closed"


class MirrorMode(enum.StrEnum):
    """What the mirror shows of an entry."""

    FULL = "full"
    SHORT = "short"
    JSON = "json"
    OFF = "off"


class LogLevel(enum.StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    """The format of a log line."""

    TEXT = "text"
    JSON = "json"
