"""Adds what to type to the errors and notices of the library, which know no commands. Knows no terminal."""

from __future__ import annotations

from clave_client.errors import (
    ClientError,
    KeyMismatch,
    KeyNotShown,
    MemberNotFound,
    NotInRoom,
    RoomNotFound,
    SelfRemoval,
)
from clave_client.events import Advice, Notice

__all__ = ["error_text", "notice_text"]

_ERROR_HINTS: dict[type[ClientError], str] = {
    KeyNotShown: "; compare with /fingerprint first",
    MemberNotFound: "; /members lists who is",
    NotInRoom: "; /room lists yours",
    RoomNotFound: "; /room or clave info lists them",
}

_ADVICE = {
    Advice.COMPARE_KEYS: ": /fingerprint {subject}",
    Advice.DECIDE_KEYS: ", then /trust {subject} or /remove {subject}",
    Advice.LEAVE_ROOM: "; if you were removed, /leave it",
    Advice.READ_HISTORY: "; messages are in /history",
}


def error_text(error: ClientError) -> str:
    """Return an error's line with the command that helps, if any."""
    if isinstance(error, KeyMismatch):
        return f"{error}, then /trust {error.name}"
    if isinstance(error, SelfRemoval):
        return "to leave a room yourself, use /leave"
    return str(error) + _ERROR_HINTS.get(type(error), "")


def notice_text(notice: Notice) -> str:
    """Return a notice's line with the command that helps, if any."""
    hint = "" if notice.advice is None else _ADVICE[notice.advice]
    return notice.text + hint.format(subject=notice.subject)
