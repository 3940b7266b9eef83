"""The chat commands that look at what is kept of a room. Knows the conversation."""

from __future__ import annotations

from typing import Final

from clave_client.errors import UsageError
from clave_client.rpc import methods as m
from clave_client.ui.command import Command
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import note
from clave_client.ui.inspection_lines import audit_summary, finding_line, relay_view_lines

__all__ = ["INSPECTION_COMMANDS"]


async def _audit(talk: Conversation, words: str) -> None:
    findings = await talk.session.ask(m.AuditRoom(room=words or talk.current()))
    for finding in findings:
        talk.show(note(finding_line(finding), "note" if finding.ok else "alarm"))
    talk.show(note(audit_summary(findings), "note" if all(each.ok for each in findings) else "alarm"))


async def _receipt(talk: Conversation, words: str) -> None:
    if " " in words:
        raise UsageError("/receipt takes the number of a message, as in /receipt 12")
    view = await talk.session.ask(m.GetRelayView(room=talk.current(), message=words or "last"))
    for line in relay_view_lines(view):
        talk.show(note(line))


INSPECTION_COMMANDS: Final = {
    "audit": Command(
        "/audit [ROOM]", "check what is stored of a room: keys, members, messages", "room", _audit
    ),
    "receipt": Command("/receipt [N]", "show what the relay could learn of a message of yours", "", _receipt),
}
"""The commands by name, in the order of the help."""
