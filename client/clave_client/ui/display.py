"""Events and lists as lines of text. Knows no terminal: a line is (style, text) pieces.

Whatever a peer wrote was sanitised before it came here; styles are names, never markup inside the text.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from clave_client import events
from clave_client.events import Event, Lie, Person
from clave_client.store.database import HistoryLine
from clave_crypto.identity import fingerprint

__all__ = [
    "Line",
    "called",
    "doubt",
    "event_line",
    "history_line",
    "lie_words",
    "lost_words",
    "named",
    "note",
    "plain",
]

Line = list[tuple[str, str]]
"""Pieces of one line: a style ("", "name", "own", "time", "note", "alarm") and its text."""

_INDENT = "      "


def plain(line: Line) -> str:
    """Return a line without its styles."""
    return "".join(text for _, text in line)


def doubt(person: Person) -> str:
    """Return the word of warning that belongs to a person, or ""."""
    return "other key" if person.known else "" if person.verified else "unverified"


def named(person: Person) -> str:
    """Return a person's name, with a word of warning until this very key was compared under it."""
    word = doubt(person)
    return f"{person.name} ({word})" if word else person.name


def called(person: Person) -> str:
    """Return a person's name, with a word of warning only if the name is bound to another key."""
    return named(person) if person.known else person.name


def note(text: str, style: str = "note") -> Line:
    """Return a line that clave itself says."""
    return [(style, f"* {text}")]


def history_line(line: HistoryLine, *, own: bool, sender: Person | None = None) -> Line:
    """Return a message of the history; `sender` adds the word of warning of `called`."""
    name = line.name if sender is None else called(sender)
    return _said(name, line.text, line.sent_at / 1000, "own" if own else "name")


def _said(name: str, text: str, sent_at: float, style: str) -> Line:
    moment = datetime.fromtimestamp(sent_at).astimezone()
    body = text.replace("\n", "\n" + _INDENT)
    return [("time", f"{moment:%H:%M} "), (style, name), ("", f": {body}")]


def event_line(event: Event, title: Callable[[bytes], str], *, elsewhere: bool) -> Line | None:
    """Return the line for an event, or None for one that needs none.

    `title` names a room; `elsewhere` says that the event is of another room than the one talked in.
    """
    where: Line = (
        [("note", f"[{title(event.room)}] ")] if elsewhere and hasattr(event, "room") and event.room else []
    )
    match event:
        case events.Message():
            return where + _said(named(event.sender), event.text, event.sent_at, "name")
        case events.SendFailed():
            return where + note(f"not sent: {event.reason}", "alarm")
        case events.Notice():
            return where + note(event.text, "alarm")
        case events.Diverged():
            return where + note(lie_words(event), "alarm")
        case events.RelayLost():
            return where + note(lost_words(event), "alarm")
        case events.Connected() | events.Disconnected() | events.Sent():
            return None
        case events.Invited() if event.inviter.known:
            return where + note(_happened(event), "alarm")
        case _:
            return where + note(_happened(event))


def lie_words(event: events.Diverged) -> str:
    """Return one line for what a relay shows that cannot be true, which says what to do."""
    name = "somebody" if event.person is None else event.person.name
    what, check = {
        Lie.HISTORY: (f"the relay shows {name} another history of this room than you", f"ask {name}"),
        Lie.IMPOSSIBLE: (f"{name} claims to have seen entries that came only later", f"ask {name}"),
        Lie.ORDER: (f"messages of {name} come twice or out of order", f"ask {name}"),
        Lie.BEHIND: (f"the relay did not show {name} the latest change of this room", f"tell {name}"),
        Lie.AHEAD: (f"{name} speaks after a change of this room that you were not shown", f"ask {name}"),
        Lie.PLACE: ("the relay gave you a wrong place in this room's log", "ask whoever invited you"),
        Lie.INVENTED: ("something you did not send is in the log under your name", "tell the others"),
        Lie.STORED: ("the relay took a message that it told you it had refused", "tell the others"),
    }[event.lie]
    return f"{what}; {check} by another channel what was said, and do not trust this relay until you know why"


def lost_words(event: events.RelayLost) -> str:
    """Return one line for what a relay has lost, which says what becomes of it."""
    entries = "the last entry" if event.count == 1 else f"the last {event.count} entries"
    return (
        f"the relay was restored from a backup and has lost {entries} of {event.title}; what you said"
        " there is sent again, and changes made there have to be made again: look at /members"
    )


def _happened(event: Event) -> str:
    match event:
        case events.Invited():
            members = ", ".join(event.members)
            if event.inviter.known:
                return f"{named(event.inviter)} invites you to {event.title} (with {members}); {_keys(event)}"
            return (
                f"{named(event.inviter)} invites you to {event.title} (with {members}); "
                f"/accept {event.title} or /decline {event.title}"
            )
        case events.Accepted():
            return f"{named(event.person)} joined"
        case events.MemberAdded():
            return f"{called(event.by)} invited {named(event.person)}"
        case events.MemberLeft():
            return f"{called(event.person)} left"
        case events.MemberRemoved():
            return f"{called(event.by)} removed {called(event.person)}"
        case events.RoomChanged():
            return f"{called(event.by)} calls the room {event.title} now"
        case events.RoomClosed():
            by = called(event.by) if event.by else ""
            return f"{by} removed you from {event.title}" if by else f"you left {event.title}"
        case events.PresenceChanged():
            how = f" ({event.reason})" if event.reason and not event.online else ""
            return f"{event.name} is {'online' if event.online else 'offline'}{how}"
        case _:
            raise AssertionError(f"no words for {type(event).__name__}")


def _keys(invited: events.Invited) -> str:
    """Say that an invitation comes under a known name from another key, and what to do."""
    person = invited.inviter
    return (
        f"other key than the {person.name} you know: known {fingerprint(person.known)},"
        f" here {fingerprint(person.account)};"
        f" ask {person.name} over another channel, then /trust {person.name} or /decline {invited.title}"
    )
