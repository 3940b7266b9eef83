"""How messages stand in the list: a name once for several in a row, and what each says. Draws nothing."""

from __future__ import annotations

from typing import Final

from clave_client.rpc.values import HistoryMessage
from clave_client.ui.display import Line, clock_text, date_text, name_with_warning
from clave_client.ui.message_lines import quote_text, said_pieces

__all__ = ["MARGIN", "Names", "continues", "lines_of"]

Names = dict[bytes, str]
"""What members are called, by account."""

MARGIN: Final = 2
"""Columns before what is said, so that no text can pose as a name."""

_MARGIN: Final = " " * MARGIN
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


def lines_of(message: HistoryMessage, *, me: bytes, names: Names, follows: bool) -> list[Line]:
    """Return the lines of a message, not wrapped; `me` is the own account.

    With `follows` it stands below the name of the one before it.
    """
    lines: list[Line] = []
    if not follows:
        style = "own" if message.sender.account == me else "name"
        head: Line = [
            (style, name_with_warning(message.sender, me)),
            ("time", f"  {clock_text(message.sent_at)}"),
        ]
        lines.append(head)
    if message.quote is not None:
        lines.append([("time", f"{_MARGIN}> {quote_text(message.quote)}")])
    said = [(kind, text.replace("\n", "\n" + _MARGIN)) for kind, text in said_pieces(message, names)]
    lines.append([("", _MARGIN), *said, *_receipts(message)])
    if message.reactions:
        counts = "  ".join(f"{each.reaction} {len(each.names)}" for each in message.reactions)
        lines.append([("note", f"{_MARGIN}{counts}")])
    return lines


def _receipts(message: HistoryMessage) -> Line:
    """Return what is known of who has got and read an own message."""
    if not message.own or not (message.delivered or message.read):
        return []
    how, count = ("read", message.read) if message.read else ("received", message.delivered)
    return [("time", f"  {how}" if count >= message.others else f"  {how} by {count}")]
