"""What an audit of a room found, and what the relay could learn of a message, in lines. Knows no terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clave_client.ui.display import clock_text, date_text
from clave_client.values import AuditFinding, RelayView

__all__ = ["audit_summary", "finding_line", "relay_view_lines"]

_NOT_KEPT: Final = "not kept here"

_ADDRESSES: Final = {
    "direct": "the one that this machine reaches the internet by, as this client connects directly",
    "proxy": "that of the proxy or of what is behind it, as Tor's exit; this client connects through one",
    "onion": "none, as this client connects to an onion service",
    "": "the sender's, which is not known here; a proxy or an onion service hides it",
}


def finding_line(finding: AuditFinding) -> str:
    """Return the line of one check."""
    return f"{'ok' if finding.ok else 'FAIL':<4} {finding.text}"


def audit_summary(findings: Sequence[AuditFinding]) -> str:
    """Return the last line, with what to do if something does not hold."""
    failed = [finding.check for finding in findings if not finding.ok]
    if not failed:
        return f"all {len(findings)} checks hold"
    if failed == ["pins"]:
        advice = "ask them over another channel, then decide with /trust NAME"
    else:
        advice = "restore a backup, or leave the room and have yourself invited again"
    return f"{len(failed)} of {len(findings)} checks failed ({', '.join(failed)}): {advice}"


def relay_view_lines(view: RelayView) -> list[str]:
    """Return what the relay could learn of a message, then what it could not, a line each."""
    device = f"{view.device_name} ({view.device.hex()[:16]})" if view.device_name else view.device.hex()[:16]
    when = f"{date_text(view.accepted_at)} {clock_text(view.accepted_at)}" if view.accepted_at else _NOT_KEPT
    others = [each for each in view.devices if each.device != view.device]
    since = "the same devices as now" if view.devices_then else f"now; who was there then is {_NOT_KEPT}"
    answer = f"number {view.reply_to}" if view.reply_to else "it answers none"
    role = view.role or "not in the room now"
    connected = sum(each.online for each in others)
    return [
        f"what the relay could learn of message {view.number}:",
        f"  from: account {view.name} ({view.account.hex()[:16]}), device {device}",
        f"  network address: {_ADDRESSES[view.way]}",
        f"  when: {when}",
        f"  size: {_size_text(view)}",
        f"  in: room {view.room.hex()}, entry {view.number}, of the kind application as all that is said",
        f"  in clear before the ciphertext: epoch {_NOT_KEPT if view.head is None else view.head.hex()};"
        f" the last entry that the sender had seen: {_text(view.seen)};"
        f" the sender's count of messages: {_text(view.count)}",
        f"  beside it: its submission number, and the last change that the sender had read: {_NOT_KEPT}",
        f"  sent on to: {_devices_text([each.name for each in others])} ({since})",
        f"  and who was connected when it was: {connected} of them are now",
        "what it could not:",
        f"  the text ({_count(view.characters, 'character')}), and who has read it",
        f"  whether it answers a message ({answer}),"
        f" and that {_count(view.reactions, 'reaction')} and {_count(view.edits, 'edit')} are about it;"
        " each of them is one more entry",
        f"  whether it disappears ({'it does' if view.disappears else 'it does not'})",
        f"  what the room is called ({view.title}), and the sender's role ({role})",
    ]


def _size_text(view: RelayView) -> str:
    if view.ciphertext_bytes is None:
        return _NOT_KEPT
    padded = "" if view.padded_bytes is None else f", as its content is padded to {view.padded_bytes}"
    whole = "" if view.entry_bytes is None else f"{view.entry_bytes} bytes, of which the ciphertext has "
    return f"{whole}{view.ciphertext_bytes} bytes{padded}"


def _text(value: int | None) -> str:
    return _NOT_KEPT if value is None else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _devices_text(names: Sequence[str]) -> str:
    return f"{_count(len(names), 'device')} of {', '.join(sorted(set(names)))}" if names else "nobody"
