"""What is secret shows in no repr, and so in no traceback or log: keys, groups, and what people say."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import msgspec
import pytest

import clave_client
from clave_client.formats.composing import Outgoing
from clave_client.formats.content import Content, ContentKind
from clave_client.formats.former_content import FormerContent, FormerKind
from clave_client.rooms.commit_records import EarlierRekey, OwnCommit
from clave_client.store.conversation_tables import SentContent
from clave_client.store.database import OutboxItem
from clave_client.store.message_tables import HistoryLine, Version
from clave_wire.messages import Kind

MAY_SHOW = {
    *("accounts", "owners", "admins", "guests", "banned", "unbanned", "direct", "roles", "policies"),
    *("removes", "inviter", "role", "action", "add", "remove", "edit", "may_add", "may_remove", "may_edit"),
    *("pin", "may_pin", "pinned", "unpinned", "author"),
    *(
        "id",
        "room",
        "title",
        "topic",
        "name",
        "account",
        "device",
        "device_name",
        "members",
        "removes",
        "inviter",
    ),
    *(
        "relay",
        "fingerprint",
        "safety_number",
        "host",
        "source",
        "reason",
        "head",
        "rejoin_requests",
        "events",
    ),
    *("payload", "welcome", "message", "signature", "sealed", "ref", "incarnation", "seen", "reply_to"),
    *(
        "Endpoint.address",
        "FreshPackages.packages",
        "LifetimeFault.text",
        "FreshPackages.last_resort",
        "Person.known",
        "KeyAction.keys",
        "KeyAction.words",
        "KeyAction.short",
        "_Command.run",
        "Notice.text",
        "Notice.subject",
        "Invitee.left_out",
        "MessageDeleted.author",
        "RoomInfo.outdated",
        "Receipt.state",
        "Outgoing.target",
        "Content.target",
        "Content.replaces",
        "Content.statuses",
    ),
    *("CertificateTrust.pin", "CertificateTrust.following", "HistoryLine.sender", "_BufferedEntry.sender"),
    *("RosterMember.signature_key", "RosterMember.identity"),
    *("Command.usage", "Command.help", "Command.completes", "Command.run"),
    *("RelayInfo.address", "Device.key", "Device.identity", "Device.packages", "Device.last_resorts"),
    *("Device.invitations", "Appended.left", "Appended.invited", "_Rekey.author", "_Rekey.remove"),
    *("ShownKeys.last", "ShownKeys.choices", "ShownKeys.refused"),
    *("ProfileOptions.home", "ProfileOptions.passphrase_file", "OwnerInfo.software", "RoomSummary.similar"),
    *("ProfileInfo.relay_fingerprint", "ProfileInfo.unusable", "ProfileInfo.last_room", "ProfileInfo.names"),
    *(
        "RoomInfo.suite_name",
        "RoomInfo.encryption",
        "RoomInfo.joining",
        "RoomInfo.may_link",
        "CertificateTrust.expected",
    ),
    *("RoomLink.key", "RoomLink.kem_key", "RoomLink.by", "StateChange.ended", "StateChange.links"),
    *("Departures.uses", "_SealedKey.kem_output", "_SealedKey.ciphertext", "LinkInfo.id", "LinkInfo.by"),
    *("_Offer.keys", "_Offer.group_info", "FoundOffer.sealed", "FoundOffer.group_info"),
    *("RoomInfo.code", "AuditFinding.check", "PairingOffer.words", "DeviceOffer.words"),
    *("DeviceOffer.pairing",),
    *("_Words.noun", "_Words.purpose", "_Words.remedy", "_Words.command"),
}
"""Fields of bytes or text that are public, encrypted, or known to the relay; any other is to be hidden."""


def records() -> Iterator[type]:
    for found in pkgutil.walk_packages(clave_client.__path__, "clave_client."):
        if found.name != "clave_client.__main__":
            module = importlib.import_module(found.name)
            for each in vars(module).values():
                own = inspect.isclass(each) and each.__module__ == module.__name__
                if own and (dataclasses.is_dataclass(each) or issubclass(each, msgspec.Struct | tuple)):
                    yield each


def fields_of(record: type) -> dict[str, str]:
    """Return the type of each field, as text."""
    if issubclass(record, msgspec.Struct):
        return {field.name: str(field.type) for field in msgspec.structs.fields(record)}
    if dataclasses.is_dataclass(record):
        return {field.name: str(field.type) for field in dataclasses.fields(record)}
    return {name: str(record.__annotations__[name]) for name in getattr(record, "_fields", ())}


@pytest.mark.parametrize("record", list(records()), ids=lambda record: record.__name__)
def test_a_field_is_hidden_unless_it_may_show(record: type) -> None:
    fields = fields_of(record)
    values = {name: f"the value of {name}" for name in fields}
    if dataclasses.is_dataclass(record):
        one = object.__new__(record)
        for name, value in values.items():
            object.__setattr__(one, name, value)
    else:
        one = record(**values)
    shown = repr(one)
    for name, kind in fields.items():
        if ("bytes" in kind or "str" in kind) and not MAY_SHOW & {name, f"{record.__name__}.{name}"}:
            assert values[name] not in shown, f"{record.__name__}.{name} shows in its repr"


def test_secrets_show_in_no_repr() -> None:
    pending = OwnCommit(Kind.REKEY, b"payload", b"", b"h" * 32)
    secrets = [
        Content(bytes(32), ContentKind.TEXT, "hush", "hush"),
        FormerContent(bytes(16), FormerKind.TEXT, "hush", b"", 0),
        Outgoing(bytes(32), ContentKind.TEXT, b"hush", "hush"),
        OutboxItem(1, bytes(32), ContentKind.TEXT, "hush", 0, b"", b"hush", None, None, None),
        SentContent(bytes(32), 1, 1, b"", b"hush", "hush", 0),
        Version(bytes(32), "hush", "hush", 0),
        HistoryLine(1, b"device", b"account", "red", bytes(16), "hush", 0),
        EarlierRekey(pending, b"hush", b"hush"),
    ]
    assert "hush" not in repr(secrets)
