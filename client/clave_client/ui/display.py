"""Turns events and messages into lines of (style, text) pieces. Knows no terminal.

Text of peers is sanitised already; styles are names, never markup inside the text.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from clave_client import events
from clave_client.events import Event, Inconsistency, Person
from clave_client.store.database import HistoryLine
from clave_client.ui.hints import notice_text
from clave_client.values import Phase, RoomInfo
from clave_crypto.identity import fingerprint

__all__ = [
    "Line",
    "event_line",
    "history_line",
    "inconsistency_text",
    "name_with_mismatch",
    "name_with_warning",
    "note",
    "plain",
    "relay_restored_text",
    "room_info_lines",
    "warning_word",
]

Line = list[tuple[str, str]]
"""Pieces of one line: a style ("", "name", "own", "time", "note", "alarm") and its text."""

_INDENT = "      "


def plain(line: Line) -> str:
    """Return the text of a line."""
    return "".join(text for _, text in line)


def warning_word(person: Person) -> str:
    """Return "other key", "unverified" or "" for a person."""
    return "other key" if person.known else "" if person.verified else "unverified"


def name_with_warning(person: Person) -> str:
    """Return a person's name, with its warning word unless this key is verified."""
    word = warning_word(person)
    return f"{person.name} ({word})" if word else person.name


def name_with_mismatch(person: Person) -> str:
    """Return a person's name, with its warning word only if the name is pinned to another key."""
    return name_with_warning(person) if person.known else person.name


def note(text: str, style: str = "note") -> Line:
    """Return a line of clave itself, with a leading asterisk."""
    return [(style, f"* {text}")]


def history_line(line: HistoryLine, *, own: bool, sender: Person | None = None) -> Line:
    """Return a message of the history; `sender` adds the warning of `name_with_mismatch`."""
    name = line.name if sender is None else name_with_mismatch(sender)
    return _message_line(name, line.text, line.sent_at / 1000, "own" if own else "name")


def _message_line(name: str, text: str, sent_at: float, style: str) -> Line:
    moment = datetime.fromtimestamp(sent_at).astimezone()
    body = text.replace("\n", "\n" + _INDENT)
    return [("time", f"{moment:%H:%M} "), (style, name), ("", f": {body}")]


def event_line(event: Event, title: Callable[[bytes], str], *, elsewhere: bool) -> Line | None:
    """Return the line for an event, or None if it is not shown.

    `title` returns a room's title; `elsewhere` says that the event is of another room than the current one.
    """
    where: Line = [("note", f"[{title(event.room)}] ")] if elsewhere and event.room else []
    match event:
        case events.Message():
            return where + _message_line(name_with_warning(event.sender), event.text, event.sent_at, "name")
        case events.SendFailed():
            return where + note(f"not sent: {event.reason}", "alarm")
        case events.Notice():
            return where + note(notice_text(event), "alarm")
        case events.Diverged():
            return where + note(inconsistency_text(event), "alarm")
        case events.RelayRestored():
            return where + note(relay_restored_text(event), "alarm")
        case events.Connected() | events.Disconnected() | events.Sent():
            return None
        case events.Invited() if event.inviter.known:
            return where + note(_event_text(event), "alarm")
        case _:
            return where + note(_event_text(event))


def inconsistency_text(event: events.Diverged) -> str:
    """Return the text for an inconsistency of the relay, with what to do about it."""
    name = "somebody" if event.person is None else event.person.name
    what, check = {
        Inconsistency.HISTORY: (
            f"the relay shows {name} another history of this room than you",
            f"ask {name}",
        ),
        Inconsistency.IMPOSSIBLE: (f"{name} claims to have seen entries that came only later", f"ask {name}"),
        Inconsistency.ORDER: (f"messages of {name} come twice or out of order", f"ask {name}"),
        Inconsistency.BEHIND: (
            f"the relay did not show {name} the latest change of this room",
            f"tell {name}",
        ),
        Inconsistency.AHEAD: (
            f"{name} speaks after a change of this room that you were not shown",
            f"ask {name}",
        ),
        Inconsistency.PLACE: (
            "the relay gave you a wrong place in this room's log",
            "ask whoever invited you",
        ),
        Inconsistency.INVENTED: (
            "something you did not send is in the log under your name",
            "tell the others",
        ),
        Inconsistency.STORED: ("the relay took a message that it told you it had refused", "tell the others"),
    }[event.inconsistency]
    return f"{what}; {check} by another channel what was said, and do not trust this relay until you know why"


def room_info_lines(info: RoomInfo) -> list[str]:
    """Return the lines of a room's summary."""
    unverified = f", {info.unverified} unverified" if info.unverified else ""
    standing = {Phase.INVITED: "you are invited", Phase.LEAVING: "you are leaving"}
    member = "you are an admin" if info.admin else "you are a member"
    lines = [
        f"{info.title}  {info.id.hex()[:8]}",
        f"people: {info.people}{unverified}; devices: {info.devices}; {standing.get(info.phase, member)}",
        f"encryption: {info.encryption}",
        f"cipher suite: {info.suite_name}, epoch {info.epoch}",
    ]
    if not info.post_quantum:
        lines.append(
            "not post-quantum: recorded traffic would not withstand a future quantum computer;"
            " only a new room changes that"
        )
    return lines


def relay_restored_text(event: events.RelayRestored) -> str:
    """Return the text for entries that a relay has lost, with what happens to them."""
    entries = "the last entry" if event.count == 1 else f"the last {event.count} entries"
    return (
        f"the relay was restored from a backup and has lost {entries} of {event.title}; what you said"
        " there is sent again, and changes made there have to be made again: look at /members"
    )


def _event_text(event: Event) -> str:
    match event:
        case events.Invited():
            members = ", ".join(event.members)
            if event.inviter.known:
                inviter = name_with_warning(event.inviter)
                return f"{inviter} invites you to {event.title} (with {members}); {_key_mismatch_text(event)}"
            return (
                f"{name_with_warning(event.inviter)} invites you to {event.title} (with {members}); "
                f"/accept {event.title} or /decline {event.title}"
            )
        case events.InvitationAccepted():
            return f"{name_with_warning(event.person)} joined"
        case events.MemberAdded():
            return f"{name_with_mismatch(event.by)} invited {name_with_warning(event.person)}"
        case events.MemberLeft():
            return f"{name_with_mismatch(event.person)} left"
        case events.MemberRemoved():
            return f"{name_with_mismatch(event.by)} removed {name_with_mismatch(event.person)}"
        case events.RoomChanged():
            return f"{name_with_mismatch(event.by)} calls the room {event.title} now"
        case events.RoomClosed():
            by = name_with_mismatch(event.by) if event.by else ""
            return f"{by} removed you from {event.title}" if by else f"you left {event.title}"
        case events.PresenceChanged():
            how = f" ({event.reason})" if event.reason and not event.online else ""
            return f"{event.name} is {'online' if event.online else 'offline'}{how}"
        case _:
            raise AssertionError(f"no words for {type(event).__name__}")


def _key_mismatch_text(invited: events.Invited) -> str:
    """Return the text for an invitation by a known name with another key, with what to do about it."""
    person = invited.inviter
    return (
        f"other key than the {person.name} you know: known {fingerprint(person.known)},"
        f" here {fingerprint(person.account)};"
        f" ask {person.name} over another channel, then /trust {person.name} or /decline {invited.title}"
    )
