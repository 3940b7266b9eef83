"""What goes wrong on the wire, and whose fault it is.

    WireError
    ├── MisuseError      this end called the connection wrongly; nothing was sent
    ├── RemoteError     the peer broke the protocol; `code` says how, and the connection is over
    └── BadName         a name that no participant may have

Every message is one line.
"""

from __future__ import annotations

from clave_wire.messages import Code

__all__ = ["BadName", "MisuseError", "RemoteError", "WireError"]


class WireError(Exception):
    """Base of everything this package raises."""


class MisuseError(WireError):
    """Something the protocol does not allow was tried at this end; the peer never saw it."""


class RemoteError(WireError):
    """The peer broke the protocol. A relay answers with `Closing(code, str(error))` and closes."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class BadName(WireError):
    """A name is refused; the text says why."""
