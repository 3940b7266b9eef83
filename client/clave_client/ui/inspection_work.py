"""What the subcommands do that look at what is kept of a room. Knows no options."""

from __future__ import annotations

from pathlib import Path

import msgspec

from clave_client.rooms.audit import audit_room
from clave_client.rooms.room_names import stored_room
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.store.audit_queries import SnapshotStore
from clave_client.ui.inspection_lines import audit_summary, finding_line, relay_view_lines
from clave_client.ui.json_output import line_json, relay_view_json
from clave_client.ui.warnings import print_out
from clave_crypto.keys import Secret

__all__ = ["print_audit", "print_relay_view"]


def print_audit(database: Path, key: Secret, room: str, *, as_json: bool) -> int:
    """Print what is found of a room in a database, which others may use; return the exit status.

    It is 1 if a check does not hold. Raises `RoomNotFound`, `UsageError` and `StoreDamaged`.
    """
    store = SnapshotStore(database, key)
    try:
        record = stored_room(room, store.rooms())
        findings = audit_room(store, record)
    finally:
        store.close()
    if as_json:
        for finding in findings:
            print_out(line_json(room=record.title, **msgspec.to_builtins(finding)))
    else:
        for finding in findings:
            print_out(finding_line(finding))
        print_out(audit_summary(findings))
    return int(not all(finding.ok for finding in findings))


async def print_relay_view(session: Session, room: str, message: str, *, as_json: bool) -> None:
    """Print what the relay could learn of a message. Raises `UsageError`."""
    view = await session.ask(m.GetRelayView(room=room, message=message))
    print_out(relay_view_json(view) if as_json else "\n".join(relay_view_lines(view)))
