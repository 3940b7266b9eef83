"""Adds what to type to the library's errors and notices, which know no commands and options.

Knows no terminal.
"""

from __future__ import annotations

from clave_client.errors import (
    ClientError,
    KeyMismatch,
    KeyNotShown,
    MemberNotFound,
    NotAFolder,
    NotInRoom,
    PassphraseNeeded,
    ProfileNotFound,
    ProfileOfOther,
    RelayChanged,
    RelayRefused,
    RelayUnknown,
    RoomNotFound,
    SelfRemoval,
)
from clave_client.events import Advice, Notice

__all__ = ["error_text", "notice_text"]

_ERROR_HINTS: dict[type[ClientError], str] = {
    KeyNotShown: "; compare with /fingerprint first",
    MemberNotFound: "; /members lists who is",
    NotAFolder: " or choose another --home",
    NotInRoom: "; /room lists yours",
    PassphraseNeeded: "; start it on a terminal or use --passphrase-file",
    ProfileOfOther: "; choose another --home",
    RelayChanged: ", and if that is right give it with --pin",
    RelayUnknown: "; say where with --relay HOST:PORT",
    RoomNotFound: "; /room or clave info lists them",
}

_ADVICE = {
    Advice.COMPARE_KEYS: " (/fingerprint {subject}) over another channel before you trust either",
    Advice.DECIDE_KEYS: ", then /trust {subject} or /remove {subject}",
    Advice.LEAVE_ROOM: "; if you were removed, /leave it",
    Advice.READ_HISTORY: "; messages are in /history",
}


def error_text(error: ClientError) -> str:
    """Return an error's line with the command or option that helps, if any."""
    if isinstance(error, KeyMismatch):
        return f"{error}, then /trust {error.name}"
    if isinstance(error, RelayRefused) and error.code == "name-taken":
        return f"{error}; if it is yours, restore your backup (clave restore), or ask the operator to free it"
    if isinstance(error, RelayRefused) and error.code == "device-removed":
        return f"{error}; to use this machine again: clave account delete --here-only, then clave device join"
    if isinstance(error, SelfRemoval):
        return "to leave a room yourself, use /leave"
    if isinstance(error, ProfileNotFound):
        return f"{error}; make one with: clave chat --relay HOST:PORT --name {error.name}"
    return str(error) + _ERROR_HINTS.get(type(error), "")


def notice_text(notice: Notice) -> str:
    """Return a notice's line with the command that helps, if any."""
    hint = "" if notice.advice is None else _ADVICE[notice.advice]
    return notice.text + hint.format(subject=notice.subject)
