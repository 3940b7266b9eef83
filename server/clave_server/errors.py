"""What goes wrong at the relay, and whom it concerns.

ServerError
├── StartError      the relay cannot start; one line for the person who started it
│   └── DataDirInUse another relay holds the data folder
├── AdminError      an operator's order is not carried out; one line for the operator
│   └── NotRunning  there is no relay to carry it out
├── ProxyError      a trusted proxy does not say whom it speaks for; its operator's to mend
├── StorageError    a read or a transaction failed; whoever asked is told, service goes on
│   └── DamageError what was read is not what was written
└── Refusal         one request is refused; `code` and text go to the client that made it
"""

from __future__ import annotations

from clave_wire.messages import Code

__all__ = [
    "AdminError",
    "DamageError",
    "DataDirInUse",
    "NotRunning",
    "ProxyError",
    "Refusal",
    "ServerError",
    "StartError",
    "StorageError",
]


class ServerError(Exception):
    """Base of everything this package raises."""


class StartError(ServerError):
    """The relay cannot start as it was asked to."""


class DataDirInUse(StartError):
    """Another process holds the data folder."""


class AdminError(ServerError):
    """What an operator ordered cannot be done."""


class NotRunning(AdminError):
    """No relay runs on the data folder."""


class ProxyError(ServerError):
    """A connection of a trusted proxy does not begin as one."""


class StorageError(ServerError):
    """The disk or the database failed; nothing of the transaction took effect."""


class DamageError(StorageError):
    """Stored bytes do not match their digest and are not believed."""


class Refusal(ServerError):
    """A request is refused and changed nothing."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
