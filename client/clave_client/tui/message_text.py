"""How messages stand in the list: a name once for several in a row, and what each says. Draws nothing."""

from __future__ import annotations

from typing import Final

from clave_client.rpc.values import HistoryMessage
from clave_client.ui.display import Line, clock_text, date_text, name_with_warning
from clave_client.ui.message_lines import quote_text, said_pieces

__all__ = ["MARGIN", "Names", "continues", "lines_of", "link_targets"]

Names = dict[bytes, str]
"""What members are called, by account."""

MARGIN: Final = 2
"""Columns before what is said, so that no text can pose as a name."""

_MARGIN: Final = " " * MARGIN
_CODE_SIGN: Final = "\N{LEFT ONE EIGHTH BLOCK} "
_RUN_SECONDS: Final = 600.0
"""Messages of one person within this time of each other stand below one name."""


def continues(message: HistoryMessage, before: HistoryMessage | None) -> bool:
    """Return whether a message stands below the name of the one before it."""
    return (
        before is not None
        and (message.sender.account, message.sender.known) == (before.sender.account, before.sender.known)
        and 0 <= message.sent_at - before.sent_at < _RUN_SECONDS
        and date_text(message.sent_at) == date_text(before.sent_at)
    )


def lines_of(
    message: HistoryMessage, *, me: bytes, names: Names, follows: bool, numbered: bool = False
) -> list[Line]:
    """Return the lines of a message, not wrapped; `me` is the own account.

    With `follows` it stands below the name of the one before it; with `numbered` its number is shown.
    """
    lines: list[Line] = []
    number: Line = [("time", f"[{message.number}] ")] if numbered else []
    if not follows:
        style = "own" if message.sender.account == me else "name"
        head: Line = [
            (style, name_with_warning(message.sender, me)),
            ("time", f"  {clock_text(message.sent_at)}"),
        ]
        lines.append(head)
    if message.quote is not None:
        lines.append([("time", f"{_MARGIN}> {quote_text(message.quote)}")])
    targets: list[str] = []
    said = _with_margins(number + said_pieces(message, names, targets, when=True))
    said[-1] += _receipts(message)
    lines += said
    lines += [[("link", f"{_MARGIN}[{place}] {target}")] for place, target in enumerate(targets, start=1)]
    if message.reactions:
        pieces: Line = [("", _MARGIN)]
        for each in message.reactions:
            pieces.append(("mention" if each.own else "note", f"{each.reaction} {len(each.names)}  "))
        lines.append(pieces)
    return lines


def link_targets(message: HistoryMessage) -> list[str]:
    """Return where the links of a message go, as they are numbered, and then the links in plain words."""
    targets: list[str] = []
    pieces = said_pieces(message, {}, targets)
    found = [target.removeprefix("(goes to ").removesuffix(")").strip("<>") for target in targets]
    words = " ".join(text for _, text in pieces).split()
    found += [word for word in words if word.startswith(("https://", "http://"))]
    return list(dict.fromkeys(found))


def _with_margins(pieces: Line) -> list[Line]:
    """Return what is said, as lines that begin after the margin; those of code have a sign of their own."""
    lines: list[Line] = [[("", _MARGIN)]]
    for style, text in pieces:
        if style == "block":
            code: list[Line] = [[("block", f"{_MARGIN}{_CODE_SIGN}{row}")] for row in text.split("\n")]
            if len(lines[-1]) == 1:
                lines.pop()
            lines += [*code, [("", _MARGIN)]]
            continue
        if len(lines[-1]) == 1 and len(lines) > 1:
            text = text.removeprefix("\n")
        first, *others = text.split("\n")
        lines[-1].append((style, first))
        lines += [[("", _MARGIN), (style, each)] for each in others]
    if len(lines) > 1 and not "".join(text for _, text in lines[-1]).strip():
        lines.pop()
    return lines


def _receipts(message: HistoryMessage) -> Line:
    """Return what is known of who has got and read an own message."""
    if not message.own or not (message.delivered or message.read):
        return []
    how, count = ("read", message.read) if message.read else ("received", message.delivered)
    return [("time", f"  {how}" if count >= message.others else f"  {how} by {count}")]
