"""Turns messages and what happens to them into lines. Knows no terminal.

Text of peers is sanitised already; styles are names, never markup inside the text.
"""

from __future__ import annotations

from typing import Final

from clave_client import events
from clave_client.events import MessageKind
from clave_client.formats.durations import exact_duration_words
from clave_client.rpc.values import FoundMessage, HistoryMessage, MessageDetails, Quote
from clave_client.ui.display import Line, clock_text, date_text, name_with_warning, note
from clave_client.ui.markup import bare_text, marked_pieces

__all__ = [
    "copied_text",
    "detail_lines",
    "found_lines",
    "marked_text",
    "message_lines",
    "quote_line",
    "quote_text",
    "reaction_text",
    "said_pieces",
    "short",
]

_INDENT: Final = "      "
_MOST_SHORTENED: Final = 60
"""Most characters of a message that a line about it repeats."""

_STATE_WORDS: Final = {
    MessageKind.UNKNOWN: "sent something this version cannot show",
    MessageKind.DELETED: "deleted this message",
}


def short(text: str) -> str:
    """Return the first of a text, in one line."""
    first = text.split("\n", 1)[0]
    cut = first[:_MOST_SHORTENED].rstrip()
    return cut + (" ..." if len(cut) < len(text) else "")


def quote_line(quote: Quote) -> Line:
    """Return the line of what a message answers."""
    return [("time", f"{_INDENT}> {quote_text(quote)}")]


def quote_text(quote: Quote) -> str:
    """Return words for what a message answers: whose it is, and how it begins."""
    if not quote.name:
        return "a message that is not here"
    gone = quote.kind not in (MessageKind.TEXT, MessageKind.UNKNOWN)
    return f"{quote.name}: {'a deleted message' if gone else short(quote.text) or 'something'}"


def message_lines(
    message: HistoryMessage, *, me: bytes, names: dict[bytes, str], numbered: bool = False
) -> list[Line]:
    """Return the lines of a message: what it answers, if anything, and what it says.

    `me` is the own account, `names` those of the room's members by account; with `numbered` its number
    comes first.
    """
    lines = [quote_line(message.quote)] if message.quote is not None else []
    head: Line = [("time", f"[{message.number}] ")] if numbered else []
    head.append(("time", f"{clock_text(message.sent_at)} "))
    style = "own" if message.sender.account == me else "name"
    head.append((style, name_with_warning(message.sender, me)))
    if message.kind is MessageKind.REMOVED:
        return [*lines, [*head, ("note", ": "), *said_pieces(message, names)]]
    if message.kind is not MessageKind.TEXT:
        return [*lines, [*head, ("note", " "), *said_pieces(message, names)]]
    said = [(kind, text.replace("\n", "\n" + _INDENT)) for kind, text in said_pieces(message, names)]
    return [*lines, [*head, ("", ": "), *said]]


def said_pieces(
    message: HistoryMessage, names: dict[bytes, str], targets: list[str] | None = None, *, when: bool = False
) -> Line:
    """Return the pieces of what a message says, or of what became of it; `names` are those of members.

    `targets` are as in `marked_pieces`; with `when` they say when it disappears, not only that it does.
    """
    if message.kind is MessageKind.REMOVED:
        return [("note", f"(removed by {message.removed_by or 'an admin'})")]
    if message.kind is not MessageKind.TEXT:
        return [("note", _STATE_WORDS.get(message.kind, "said something that is gone"))]
    pieces: Line = []
    if message.markup:
        pieces = marked_pieces(message.markup, lambda account: names.get(account, ""), targets)
    tail: Line = [("time", " (edited)")] if message.edits else []
    if message.expires_at or message.expires_after:
        tail.append(("time", f" ({_expiry_text(message) if when else 'disappears'})"))
    return [*(pieces or [("", message.text)]), *tail]


def _expiry_text(message: HistoryMessage) -> str:
    """Return when a message disappears, with the day if that is another one than it was sent on."""
    if message.expires_after:
        return f"disappears {exact_duration_words(message.expires_after)} after it is read"
    same_day = date_text(message.expires_at) == date_text(message.sent_at)
    moment = f"at {clock_text(message.expires_at)}" if same_day else _moment(message.expires_at)
    return f"disappears {moment}"


def reaction_text(event: events.ReactionChanged, found: HistoryMessage | None, me: bytes) -> str:
    """Return the text of a reaction to the message `found`, which may be gone."""
    who = name_with_warning(event.person, me)
    what = _named(found, me)
    how = "reacted with" if event.added else "took back"
    return f"{who} {how} {event.reaction} {'to' if event.added else 'from'} {what}"


def _named(found: HistoryMessage | None, me: bytes) -> str:
    """Return words for a message: whose it is, and how it begins."""
    if found is None:
        return "a message"
    whose = "your message" if found.sender.account == me else f"{found.sender.name}'s message"
    return f"{whose}: {short(found.text)}" if found.text else whose


def detail_lines(details: MessageDetails, *, me: bytes) -> list[Line]:
    """Return the lines of all there is to know of a message; its text comes last, bare, to be copied."""
    message = details.message
    who = name_with_warning(message.sender, me)
    lines = [note(f"message {message.number} of {who}, {_moment(message.sent_at)}")]
    if message.accepted_at:
        lines.append(note(f"the relay says it took it {_moment(message.accepted_at)}"))
    if message.quote is not None:
        lines.append(quote_line(message.quote))
    lines += [note(f"before, {_moment(each.sent_at)}: {short(each.text)}") for each in details.versions]
    if message.edits:
        lines.append(note(f"edited {'once' if message.edits == 1 else f'{message.edits} times'}"))
    lines += [
        note(f"{each.reaction} {len(each.names)}: {', '.join(each.names)}") for each in message.reactions
    ]
    match message.kind:
        case MessageKind.REMOVED:
            return [*lines, note(f"removed by {message.removed_by or 'an admin'}")]
        case MessageKind.UNKNOWN:
            lines.append(note("this version cannot show it"))
        case kind if kind is not MessageKind.TEXT:
            return [*lines, note("deleted" if kind is MessageKind.DELETED else "what it said is gone")]
    if message.expires_after:
        latest = f", {_moment(message.expires_at)} at the latest" if message.expires_at else ""
        after = exact_duration_words(message.expires_after)
        lines.append(note(f"disappears {after} after you have read it{latest}"))
    elif message.expires_at:
        lines.append(note(f"disappears {_moment(message.expires_at)}"))
    if message.own and details.receipts:
        read = f", read by {message.read}" if message.read else ""
        lines.append(note(f"at the relay; delivered to {message.delivered} of {message.others}{read}"))
        lines += [note(f"{each.name}: {each.state or 'not known'}") for each in details.receipts]
    elif message.own:
        lines.append(note("at the relay"))
    text = copied_text(message)
    return [*lines, [("", text)]] if text else lines


def copied_text(message: HistoryMessage) -> str:
    """Return the text of a message as it is to be copied; empty if it says nothing."""
    return bare_text(message.markup) if message.markup else message.text


def found_lines(number: int, found: FoundMessage, *, me: bytes, elsewhere: bool) -> list[Line]:
    """Return the lines of a message that a search found, the one with this number; matches are marked."""
    message = found.message
    where = f"{found.title}, " if elsewhere else ""
    head: Line = [("note", f"{number}. "), ("time", f"{where}{_moment(message.sent_at)} ")]
    head.append(("own" if message.own else "name", name_with_warning(message.sender, me)))
    head.append(("", ": "))
    return [[*head, *marked_text(found)]]


def marked_text(found: FoundMessage) -> Line:
    """Return the part of a message around what was searched for, in one line, with that marked."""
    text, marks = found.message.text, found.marks
    start = max(0, marks[0][0] - _MOST_SHORTENED) if marks else 0
    end = min(len(text), (marks[0][1] if marks else 0) + 2 * _MOST_SHORTENED)
    pieces: Line = [("time", "... ")] if start else []
    place = start
    for first, last in marks:
        if first >= end or first < place:
            continue
        pieces += [("", text[place:first]), ("mention", text[first : min(last, end)])]
        place = min(last, end)
    pieces.append(("", text[place:end]))
    if end < len(text):
        pieces.append(("time", " ..."))
    return [(style, part.replace("\n", " ")) for style, part in pieces if part]


def _moment(moment: float) -> str:
    return f"{date_text(moment)} {clock_text(moment)}"
