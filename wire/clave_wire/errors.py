"""Everything that goes wrong on the wire, by whose fault it is.

    WireError
    ├── MisuseError     this end called the connection wrongly; nothing was sent
    ├── RemoteError     the peer broke the protocol; `code` says how, and the connection is over
    └── BadName         no account may have this name

Each message is one line.
"""

from __future__ import annotations

from clave_wire.messages import Code

__all__ = ["BadName", "MisuseError", "RemoteError", "WireError"]


class WireError(Exception):
    """Base of everything this package raises."""


class MisuseError(WireError):
    """This end tried something that the protocol does not allow; nothing was sent."""


class RemoteError(WireError):
    """The peer broke the protocol. A relay answers with `Closing(code, str(error))` and closes."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class BadName(WireError):
    """No account may have this name; the text says why."""
