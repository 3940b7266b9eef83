"""Makes docs/errors.md: every error of client and relay, with its words and its exit status.

The words are examples, with <names> in place of what differs; each has to occur in the code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from clave_client import errors as client
from clave_client.cli.exit_status import EXIT_STATUSES
from clave_client.ui.hints import error_text
from clave_server import errors as server
from clave_wire.messages import Code

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "errors.md"
SOURCES = ("client", "server", "wire")

CLIENT_WORDS: Final[dict[type[client.ClientError], str]] = {
    client.ClientError: "not sent: <reason>",
    client.LocalFault: "(no error of its own)",
    client.UsageError: "say which room: its title, or 8 digits of its id",
    client.RoomNotFound: "you are in no room called <title>",
    client.NotInRoom: "you are not in that room",
    client.MemberNotFound: "there is no <name> in <title>",
    client.SelfRemoval: "you cannot remove yourself from a room; leave it",
    client.KeyNotShown: "no key of <name> was shown yet",
    client.LinkUnusable: "this <link> is cut off: <how much of it>; <what to do>",
    client.NoOfferFits: "you cannot join by this link now: <reason>",
    client.ProfileNotFound: "there is no profile <name> yet",
    client.RelayUnknown: "this profile has not met its relay yet",
    client.ProfileError: "cannot write in <folder>: <reason>",
    client.ProfileLocked: "<process> holds the profile <name> and does not answer; end it, or let it go on",
    client.OwnerOutdated: (
        "this profile is held by <process> which speaks another version; end that one, then start again"
    ),
    client.ProfileExposed: "<file> can be read by others; run: chmod 600 <file>",
    client.ProfileOfOther: "<folder> belongs to another user; run: chown -R $USER <folder>",
    client.NotAFolder: "<path> is not a folder; move it away",
    client.WrongPassphrase: "that passphrase is wrong",
    client.PassphraseNeeded: "this profile has a passphrase",
    client.RoomUnreadable: (
        "<title> cannot be opened (<reason>); update clave, or ask to be removed and invited again"
    ),
    client.StoreDamaged: "the profile's database failed (<reason>); check the disk or restore a backup",
    client.StoreFull: "the profile's disk is full; free some space, nothing is lost",
    client.StateTooOld: "this profile comes from a backup, too old to send to <title>; leave and rejoin",
    client.RelayError: "(no error of its own)",
    client.RelayUnreachable: "the relay does not answer",
    client.NotARelay: "<address> answers, but not as a clave relay; check the port",
    client.RelayChanged: (
        "the relay's key changed, nothing was sent: expected <fingerprint>, got <fingerprint>;"
        " ask its operator"
    ),
    client.RelayNotOfLink: (
        "this is another relay than the link's, or its key changed since; nothing was sent: got"
        " <fingerprint>; ask for a new link"
    ),
    client.RelayFault: "the relay left out entries of <title> between <number> and <number>",
    client.RoomBehind: (
        "the relay no longer keeps what this device has not read of <title>, from entry <number> on;"
        " ask an admin to remove you from the room and to invite you again"
    ),
    client.RelayRefused: "<what the relay says, by a code below>; come back in <seconds> s",
    client.MessageWaiting: (
        "<the message waits> in the outbox: the relay did not take it in time; it goes out later"
    ),
    client.NoLongerMember: "<name> removed you from <title>",
    client.PeerError: "its signature does not hold",
    client.PeerLacksSuite: "<name> cannot be invited",
    client.KeyMismatch: (
        "two keys go by <name>, nothing was done: <fingerprint> (<source>) and <fingerprint> (<source>);"
        " the name may have a new owner: ask <name> over another channel which is right"
    ),
}

RELAY_WORDS: Final[dict[type[server.ServerError], str]] = {
    server.ServerError: "(no error of its own)",
    server.StartError: "cannot listen on <address>: <reason>",
    server.DataDirInUse: "another relay is running on the data folder <folder>",
    server.AdminError: "there is no token <id>; see: clave-relay token list",
    server.NotRunning: "no relay runs here; start it with: clave-relay",
    server.ProxyError: "a proxy's connection ended before its PROXY header",
    server.StorageError: "<reason>",
    server.DamageError: "<what> is damaged on disk",
    server.Refusal: "(by a code, above)",
}

CODES: Final[dict[Code, tuple[str, str]]] = {
    Code.MALFORMED: ("the client", "a message could not be read; update clave"),
    Code.TOO_LARGE: ("the client", "a message was larger than the relay takes"),
    Code.UNEXPECTED: ("the client", "a message came out of turn; update clave"),
    Code.VERSION: ("both", "client and relay share no version of the protocol; update the older one"),
    Code.TIMEOUT: ("the network", "the login took too long; it is tried again"),
    Code.FULL: ("the relay", "it has as many connections as it may; it is tried again"),
    Code.SLOW: ("the network", "what was to be read piled up; it is tried again"),
    Code.REPLACED: ("you", "this device connected from elsewhere; close one of the two"),
    Code.SHUTDOWN: ("the relay", "it stops or restarts; it is tried again"),
    Code.BAD_LOGIN: (
        "the client",
        "the identity does not hold, or the name is no longer this key's",
    ),
    Code.BANNED: ("the operator", "this account or network is banned; ask the operator"),
    Code.BAD_NAME: ("you", "this cannot be a name; take another one"),
    Code.NAME_TAKEN: ("you", "somebody has this name; take another one"),
    Code.NAME_CONFUSABLE: ("you", "somebody has a name that looks like this one; take another one"),
    Code.CLOSED: ("the operator", "no new names are registered here; ask the operator"),
    Code.TOKEN: ("you", "registering takes a token that holds; ask the operator for one"),
    Code.NO_SUCH_NAME: ("you", "nobody has this name here"),
    Code.NO_KEY_PACKAGE: (
        "the other",
        "their client has left no keys to invite them by; they have to come online",
    ),
    Code.NO_SUCH_ROOM: ("the relay", "it knows no such room"),
    Code.NOT_MEMBER: ("the relay", "it does not count this device as a member; the others correct that"),
    Code.ROOM_EXISTS: ("the client", "there is a room of this id"),
    Code.STALE: ("nobody", "the room changed meanwhile; it is sent again"),
    Code.OUT_OF_ORDER: ("nobody", "it follows something that was refused; it is sent again"),
    Code.RENUMBER: ("nobody", "its number was taken; it is sent again"),
    Code.PACE: ("nobody", "too many changes of the room at a time; it is sent again later"),
    Code.PRUNED: ("the operator", "what this device had not read is no longer kept; ask to be invited again"),
    Code.BAD_REQUEST: ("the client", "the request cannot be carried out as it is"),
    Code.LIMIT: ("you", "more than one account may have here; ask the operator"),
    Code.DEVICE_REMOVED: ("you", "your account removed this device; to use the machine again, pair it anew"),
    Code.NO_SUCH_LINK: ("you", "the relay does not know this link; ask for a new one"),
    Code.LINK_EXPIRED: ("you", "the link has expired; ask for a new one"),
    Code.LINK_REVOKED: ("you", "the link was revoked; ask for a new one"),
    Code.LINK_USED_UP: ("you", "the link has let in as many devices as it may; ask for a new one"),
    Code.STORAGE: ("the relay", "its disk is full or fails; it is tried again"),
}
"""Of each refusal: whose it is, and what it means and takes."""


def subclasses(kind: type[T]) -> Iterator[type[T]]:
    """Yield a class and all that derive from it, as their tree has them."""
    yield kind
    for each in kind.__subclasses__():
        if each.__module__ == kind.__module__:
            yield from subclasses(each)


def whose(kind: type[client.ClientError]) -> str:
    """Return whose an error of the client is."""
    for base, text in (
        (client.UsageError, "you: what was typed"),
        (client.LocalFault, "this machine"),
        (client.RelayRefused, "by its code"),
        (client.RelayError, "the relay"),
        (client.PeerError, "another member"),
    ):
        if issubclass(kind, base):
            return text
    return "nobody"


def words_of(kind: type[client.ClientError]) -> str:
    """Return the words of an error with what `clave` adds to them."""
    error: Any = kind.__new__(kind)
    error.args = (CLIENT_WORDS[kind],)
    error.name, error.code = "<name>", "<code>"
    return error_text(error)


@cache
def literals() -> set[str]:
    """Return every piece of text in the code, as long as no value is put into it."""
    found: set[str] = set()
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return found


def pieces(words: str) -> list[str]:
    """Return the parts of an example between what differs, if they are long enough to tell."""
    return [piece.strip() for piece in re.split("<[^>]*>", words) if len(piece.strip()) >= 12]


def page() -> str:
    """Return docs/errors.md."""
    lines = [
        "# Errors",
        "",
        "Made by `make errors-page` from the code. What differs stands in <angle brackets>.",
        "",
        "## What clave says",
        "",
        "One line on standard error, and an exit status. `clave rpc` has the error's name as `data.kind`.",
        "",
        "| error | status | whose | words |",
        "|---|---|---|---|",
    ]
    for kind in subclasses(client.ClientError):
        words = words_of(kind).replace("|", "\\|")
        lines.append(f"| {kind.__name__} | {kind.exit_status} | {whose(kind)} | {words} |")
    lines += ["", "| status | means |", "|---|---|"]
    lines += [f"| {status} | {text} |" for status, text in EXIT_STATUSES.items()]
    lines += ["", "## What a relay refuses", "", "As `RelayRefused`, status 4, unless it is tried again.", ""]
    lines += ["| code | whose | means, and what to do |", "|---|---|---|"]
    lines += [f"| {code} | {owner} | {text} |" for code, (owner, text) in CODES.items()]
    lines += [
        "",
        "## What clave-relay says",
        "",
        "One line on standard error, and status 1; 2 for wrong arguments.",
        "",
    ]
    lines += ["| error | for whom | words |", "|---|---|---|"]
    for error in subclasses(server.ServerError):
        meaning = (error.__doc__ or "").splitlines()[0].rstrip(".")
        lines.append(f"| {error.__name__} | {meaning} | {RELAY_WORDS[error]} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
