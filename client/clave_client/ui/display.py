"""Turns events and messages into lines of (style, text) pieces. Knows no terminal.

Text of peers is sanitised already; styles are names, never markup inside the text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from clave_client import events
from clave_client.events import Event, Inconsistency, MessageKind, Person
from clave_client.formats.durations import exact_duration_words
from clave_client.formats.join_words import joining_text
from clave_client.formats.room_code import code_lines
from clave_client.rpc.values import RoomSummary
from clave_client.ui.hints import notice_text
from clave_client.values import MOST_NUMBER, Phase, RoomInfo

__all__ = [
    "Line",
    "clock_text",
    "code_note",
    "date_text",
    "event_line",
    "inconsistency_text",
    "message_line",
    "name_with_warning",
    "note",
    "own_message_line",
    "plain",
    "policy_lines",
    "policy_text",
    "relay_restored_text",
    "room_info_lines",
    "room_line",
    "separator",
    "warning_word",
]

Line = list[tuple[str, str]]
"""Pieces of one line: a style ("", "name", "own", "time", "note", "alarm", or of `markup`) and its text."""

_INDENT = "      "


def plain(line: Line) -> str:
    """Return the text of a line."""
    return "".join(text for _, text in line)


def warning_word(person: Person) -> str:
    """Return "other key", "unverified" or "" for a person."""
    return "other key" if person.known else "" if person.verified else "unverified"


def name_with_warning(person: Person, me: bytes = b"") -> str:
    """Return a person's name, with its warning word unless this key is verified or that of account `me`."""
    word = "" if person.account == me else warning_word(person)
    return f"{person.name} ({word})" if word else person.name


def note(text: str, style: str = "note") -> Line:
    """Return a line of clave itself, with a leading asterisk."""
    return [(style, f"* {text}")]


def separator(text: str) -> Line:
    """Return a line that separates messages, such as a date."""
    return [("time", f"--- {text} ---")]


def date_text(moment: float) -> str:
    """Return the day of a time in seconds since 1970, as in "Saturday 28 November 2026"."""
    day = _local(moment)
    return f"{day:%A} {day.day} {day:%B} {day.year}"


def clock_text(moment: float) -> str:
    """Return the time of day of a time in seconds since 1970, as in "12:34"."""
    return f"{_local(moment):%H:%M}"


def _local(moment: float) -> datetime:
    try:
        return datetime.fromtimestamp(moment).astimezone()
    except (OverflowError, OSError, ValueError):  # a sender's clock can say anything
        return datetime.fromtimestamp(0).astimezone()


def message_line(
    sender: Person, text: str, sent_at: float, *, me: bytes, kind: MessageKind = MessageKind.TEXT
) -> Line:
    """Return a message; `sent_at` is in seconds since 1970, `me` the own account."""
    style = "own" if sender.account == me else "name"
    who = (style, name_with_warning(sender, me))
    if kind is MessageKind.UNKNOWN:
        return [
            ("time", f"{clock_text(sent_at)} "),
            who,
            ("note", " sent something this version cannot show"),
        ]
    return _message_line(who, text, sent_at)


def own_message_line(name: str, text: str, sent_at: float) -> Line:
    """Return a message of this profile, whose name is `name`; `sent_at` is in seconds since 1970."""
    return _message_line(("own", name), text, sent_at)


def _message_line(name: tuple[str, str], text: str, sent_at: float) -> Line:
    body = text.replace("\n", "\n" + _INDENT)
    return [("time", f"{clock_text(sent_at)} "), name, ("", f": {body}")]


def event_line(event: Event, title: Callable[[bytes], str], *, elsewhere: bool, me: bytes) -> Line | None:
    """Return the line for an event, or None if it is not shown.

    `title` returns a room's title; `elsewhere` says that the event is of another room than the current one,
    `me` is the own account.
    """
    where: Line = [("note", f"[{title(event.room)}] ")] if elsewhere and event.room else []
    match event:
        case events.Message():
            return where + message_line(event.sender, event.text, event.sent_at, me=me, kind=event.kind)
        case events.SendFailed():
            return where + note(f"not sent: {event.reason}", "alarm")
        case events.Notice():
            return where + note(notice_text(event), "alarm")
        case events.Diverged():
            return where + note(inconsistency_text(event, me), "alarm")
        case events.RelayRestored():
            return where + note(relay_restored_text(event), "alarm")
        case events.Connected() | events.Disconnected() | events.Sent() | events.OutboxChanged():
            return None
        case events.StatusChanged() | events.MessagesExpired():
            return None  # what became of own messages is in /show
        case events.MemberAdded() if elsewhere and event.by.account == event.person.account == me:
            return None  # an own device comes into all rooms; one line tells of it
        case events.Invited() if event.inviter.known:
            return where + note(_event_text(event, me), "alarm")
        case _:
            return where + note(_event_text(event, me))


def inconsistency_text(event: events.Diverged, me: bytes = b"") -> str:
    """Return the text for an inconsistency of the relay, with what to do about it."""
    name = "somebody" if event.person is None else name_with_warning(event.person, me)
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


def room_line(room: RoomSummary, *, here: bool = False) -> str:
    """Return a room's line in a list of rooms."""
    words = ["invited"] if room.phase is Phase.INVITED else []
    words += ["leaving"] if room.phase is Phase.LEAVING else []
    words += [f"{room.unread} new"] if room.unread else []
    words += [f"{room.waiting} waiting to be sent"] if room.waiting else []
    words += [f"{room.mentions} mention{'s' if room.mentions == 1 else ''} you"] if room.mentions else []
    words += ["archived"] if room.archived else []
    words += ["muted"] if room.muted_until > time.time() else []
    words += ["here"] if here else []
    return f"{room.title}  {room.id.hex()[:8]}" + "".join(f" ({word})" for word in words)


_CODE: Final = "code of this moment: "
_WHAT_CODE_IS_FOR: Final = (
    "whoever reads out the same words is in this room with you and sees the same members; every change of"
    " the room gives it other words, so all look at the same moment; /verify all marks who has read them out"
)


def room_info_lines(info: RoomInfo) -> list[str]:
    """Return the lines of a room's summary."""
    unverified = f", {info.unverified} unverified" if info.unverified else ""
    standing = {Phase.INVITED: "you are invited", Phase.LEAVING: "you are leaving"}
    member = f"you are {_with_article(info.role)}"
    lines = [
        f"{info.title}  {info.id.hex()[:8]}",
        *([f"topic: {info.topic}"] if info.topic else []),
        f"people: {info.people}{unverified}; devices: {info.devices}; {standing.get(info.phase, member)}",
        f"encryption: {info.encryption}",
        f"cipher suite: {info.suite_name}, epoch {info.epoch}",
    ]
    if not info.post_quantum:
        lines.append(
            "not post-quantum: recorded traffic would not withstand a future quantum computer;"
            " only a new room changes that"
        )
    lines.append("; ".join(policy_lines(info)))
    if info.links:
        lines.append(f"links by which others can join: {info.links}; /links lists them")
    if info.pinned:
        lines.append(f"pinned messages: {info.pinned}; /pin lists them")
    if info.joining:
        lines.append(joining_text(info.title, info.joining, waits=info.unconfirmed))
    if info.banned:
        lines.append(f"banned: {', '.join(info.banned)}")
    if info.expiry:
        lines.append(f"new messages disappear {exact_duration_words(info.expiry)} after they are read")
    if info.read_receipts:
        lines.append("the others see what you have received and read")
    elif info.receipts:
        lines.append("the others see what you have received, not what you have read")
    if info.outdated:
        have = "has" if len(info.outdated) == 1 else "have"
        lines.append(
            f"{', '.join(info.outdated[:5])} {have} to update clave: no replies and edits until then"
        )
    if info.code:
        lines += [*code_note(info.code), _WHAT_CODE_IS_FOR]
    return lines


def code_note(code: Sequence[str]) -> list[str]:
    """Return the code of a room in lines."""
    first, *others = code_lines(code)
    return [f"{_CODE}{first}", *(" " * len(_CODE) + other for other in others)]


_ACTIONS: Final = {
    "add": "invite people",
    "remove": "remove people",
    "edit": "change the room",
    "link": "make links",
    "pin": "pin messages",
}


def policy_text(action: str, role: str) -> str:
    """Return who may do something in a room, as a part of a sentence."""
    who = {"member": "everybody but guests", "admin": "admins and owners"}.get(role, "owners only")
    return f"{who} {_ACTIONS.get(action, action)}"


def policy_lines(info: RoomInfo) -> list[str]:
    """Return who may do what in a room, a part of a sentence each."""
    policies = {
        "add": info.may_add,
        "remove": info.may_remove,
        "edit": info.may_edit,
        "link": info.may_link,
        "pin": info.may_pin,
    }
    return [policy_text(action, role) for action, role in policies.items()]


def _with_article(role: str) -> str:
    """Return a role with its article."""
    return f"an {role}" if role[:1] in "ao" else f"a {role}"


def _links_text(event: events.LinksChanged, me: bytes) -> str:
    if event.made:
        return f"{name_with_warning(event.by, me)} made a link by which others can join; /links lists them"
    links = "a link" if event.ended == 1 else f"{event.ended} links"
    match event.why:
        case events.LinkEnd.REMOVAL:
            return "all links to join by ended, as somebody was removed; /invite makes a new one"
        case events.LinkEnd.MAKER:
            return f"{links} to join by ended, as whoever made it left or may make none now"
        case events.LinkEnd.EXPIRED:
            return f"{links} to join by expired"
        case events.LinkEnd.USED_UP:
            return f"{links} to join by ended: whom it let in has left"
        case _:
            return f"{name_with_warning(event.by, me)} revoked {links} to join by"


def _role_text(event: events.RoleChanged, me: bytes) -> str:
    is_me = event.account == me
    what = _with_article(event.role)
    if event.by is None:
        whom = "you are" if is_me else f"{event.name} is"
        return f"{whom} {what} now, as the last owner has left"
    if event.role == "guest":
        what += ", who can only read"
    if event.by.account == event.account:
        return f"{name_with_warning(event.by, me)} is {what} now"
    return f"{name_with_warning(event.by, me)} made {'you' if is_me else event.name} {what}"


def relay_restored_text(event: events.RelayRestored) -> str:
    """Return the text for entries that a relay has lost, with what happens to them."""
    entries = "the last entry" if event.count == 1 else f"the last {event.count} entries"
    return (
        f"the relay was restored from a backup and has lost {entries} of {event.title}; what you said"
        " there is sent again, and changes made there have to be made again: look at /members"
    )


def _event_text(event: Event, me: bytes) -> str:
    match event:
        case events.Invited():
            count = len(event.members)
            people = "one person is there" if count == 1 else f"{count} people are there"
            what = f"{name_with_warning(event.inviter, me)} invites you to {event.title} ({people})"
            if event.inviter.known:
                return f"{what}; {_key_mismatch_text(event)}"
            return f"{what}; /accept {event.title} or /decline {event.title}"
        case events.InvitationAccepted():
            return f"{name_with_warning(event.person, me)} joined"
        case events.MemberAdded() if event.by.account == event.person.account:
            return f"{name_with_warning(event.by, me)} added another device, {event.person.device_name}"
        case events.MemberAdded():
            return f"{name_with_warning(event.by, me)} invited {name_with_warning(event.person, me)}"
        case events.MemberJoined():
            whose = f"{event.inviter}'s link" if event.inviter else "a link"
            return f"{name_with_warning(event.person, me)} joined by {whose}"
        case events.LinksChanged():
            return _links_text(event, me)
        case events.MemberLeft():
            return f"{name_with_warning(event.person, me)} left"
        case events.MemberRemoved() if event.by.account == event.person.account:
            return f"{name_with_warning(event.by, me)} removed their device {event.person.device_name}"
        case events.MemberRemoved():
            return f"{name_with_warning(event.by, me)} removed {name_with_warning(event.person, me)}"
        case events.RoomChanged():
            return f"{name_with_warning(event.by, me)} calls the room {event.title} now"
        case events.TopicChanged():
            who = name_with_warning(event.by, me)
            return (
                f"{who} says what the room is about: {event.topic}"
                if event.topic
                else f"{who} took the topic away"
            )
        case events.RoleChanged():
            return _role_text(event, me)
        case events.PolicyChanged():
            return (
                f"{name_with_warning(event.by, me)} has {policy_text(event.action, event.role)} from now on"
            )
        case events.BanChanged():
            who = name_with_warning(event.by, me)
            return (
                f"{who} banned {event.name}" if event.banned else f"{who} lets {event.name} be invited again"
            )
        case events.PinChanged():
            whose = f"message {event.seq & MOST_NUMBER} of {event.author}" if event.seq else "an old message"
            what = f"pinned {whose}" if event.pinned else f"took the pin of {whose} away"
            return f"{name_with_warning(event.by, me)} {what}"
        case events.SettingsChanged():
            who = name_with_warning(event.by, me)
            if not event.expiry:
                return f"{who} has messages kept from now on"
            return (
                f"{who} has new messages disappear {exact_duration_words(event.expiry)} after they are read"
            )
        case events.MessageEdited():
            number = event.seq & MOST_NUMBER
            text = event.text.replace("\n", "\n" + _INDENT)
            return f"{name_with_warning(event.person, me)} edited message {number}: {text}"
        case events.MessageDeleted() if event.author != event.person.name:
            number = event.seq & MOST_NUMBER
            return f"{name_with_warning(event.person, me)} removed message {number} of {event.author}"
        case events.MessageDeleted():
            return f"{name_with_warning(event.person, me)} deleted message {event.seq & MOST_NUMBER}"
        case events.ReactionChanged():
            how = "reacted with" if event.added else "took back"
            return f"{name_with_warning(event.person, me)} {how} {event.reaction}"
        case events.RoomClosed():
            by = name_with_warning(event.by, me) if event.by else ""
            return f"{by} removed you from {event.title}" if by else f"you left {event.title}"
        case events.PresenceChanged():
            how = f" ({event.reason})" if event.reason and not event.online else ""
            name = event.name if event.person is None else name_with_warning(event.person, me)
            return f"{name} is {'online' if event.online else 'offline'}{how}"
        case _:
            raise AssertionError(f"no words for {type(event).__name__}")


def _key_mismatch_text(invited: events.Invited) -> str:
    """Return the text for an invitation by a known name with another key, with what to do about it."""
    from clave_crypto.identity import fingerprint  # here, as it loads `cryptography`

    person = invited.inviter
    return (
        f"other key than the {person.name} you know: known {fingerprint(person.known)},"
        f" here {fingerprint(person.account)};"
        f" ask {person.name} over another channel, then /trust {person.name} or /decline {invited.title}"
    )
