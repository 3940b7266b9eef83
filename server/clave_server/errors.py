"""Everything that goes wrong at the relay, by whom it concerns.

ServerError
├── StartError       the relay cannot start; for the person who started it
│   └── DataDirInUse another relay holds the data folder
├── AdminError       an operator's request is not carried out; for the operator
│   └── NotRunning   no relay runs that could carry it out
├── ProxyError       a trusted proxy sends no valid PROXY header; for the proxy's operator
├── StorageError     a read or a transaction failed; the request is refused, the relay goes on
│   └── DamageError  what was read is not what was written
└── Refusal          one request is refused; `code` and text go to the client that sent it

Each message is one line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    """The relay cannot start with these settings or this data folder."""


class DataDirInUse(StartError):
    """Another process holds the data folder."""


class AdminError(ServerError):
    """An operator's request cannot be carried out."""


class NotRunning(AdminError):
    """No relay runs on the data folder."""


class ProxyError(ServerError):
    """A trusted proxy's connection does not begin with a valid PROXY header."""


class StorageError(ServerError):
    """The disk or the database failed; nothing of the transaction took effect."""


class DamageError(StorageError):
    """Stored bytes do not match their checksum and are not used."""


class Refusal(ServerError):
    """A request is refused and changed nothing."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
