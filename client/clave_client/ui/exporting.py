"""What `clave export` does: prints the messages of a room, oldest first. Knows no options."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Final

from clave_client.events import MessageKind
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.rpc.values import HistoryMessage
from clave_client.ui.display import date_text, name_with_warning
from clave_client.ui.json_output import message_json
from clave_client.ui.message_lines import quote_text
from clave_client.ui.output import Output
from clave_client.ui.warnings import encoded

__all__ = ["export_room"]

_PAGE: Final = 500

_ESCAPED: Final = "\\`*_{}[]<>()#+-.!|~"
"""What begins markup in Markdown; a backslash before it makes it text."""


async def export_room(session: Session, room: str, *, as_json: bool) -> None:
    """Print all messages of a room: as JSON, one object a line, or as Markdown."""
    output = Output(sys.stdout.fileno())
    found = await session.ask(m.FindRoom(room=room))
    if not as_json:
        await output.write(encoded(f"# {_escaped(found.title)}\n"))
    after, day = 0, ""
    while True:
        page = await session.ask(m.GetHistory(room=found.id.hex(), after=after, limit=_PAGE, newest=False))
        if not page:
            break
        for message in page:
            if as_json:
                await output.write(encoded(message_json(message, found.title)))
                continue
            if date_text(message.sent_at) != day:
                day = date_text(message.sent_at)
                await output.write(encoded(f"\n## {day}\n"))
            await output.write(encoded(_markdown(message)))
        after = page[-1].seq
    await output.flush()


def _markdown(message: HistoryMessage) -> str:
    """Return a message as a paragraph of Markdown."""
    at = datetime.fromtimestamp(message.sent_at, UTC).astimezone()
    quote = ""
    if message.quote is not None:
        quote = f"> {_escaped(quote_text(message.quote))}\n\n"
    tail = " *(edited)*" if message.edits else ""
    reactions = "  \n" + ", ".join(
        f"{_escaped(each.reaction)} {_escaped(' '.join(each.names))}" for each in message.reactions
    )
    head = f"**{_escaped(name_with_warning(message.sender))}** {at:%H:%M}: "
    return f"\n{quote}{head}{_body(message)}{tail}{reactions if message.reactions else ''}"


def _body(message: HistoryMessage) -> str:
    match message.kind:
        case MessageKind.TEXT:  # as text: marks of a message could look like another person's line
            return _escaped(message.text).replace("\n", "  \n")
        case MessageKind.UNKNOWN:
            return "*something this version cannot show*"
        case MessageKind.REMOVED:
            return f"*removed by {_escaped(message.removed_by)}*"
        case _:
            return "*deleted*"


def _escaped(text: str) -> str:
    return "".join("\\" + letter if letter in _ESCAPED else letter for letter in text)
