"""Payloads: what names an epoch and a rekey, and what a body has to cover."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from clave_client.errors import PeerError
from clave_client.formats.payload import (
    check_mls_body,
    check_signature,
    epoch_id,
    header_digest,
    parse_entry,
    rekey_id,
    sign_payload,
)
from clave_wire.header import pack_header
from clave_wire.messages import Entry, Kind
from client.memory_relay import Forged, agree, confirm, deliver, in_one_room, rekey, say


def test_epoch_ids_are_equal_exactly_if_keys_are(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    assert epoch_id(red.room.group) == epoch_id(blue.room.group) == red.room.head
    rekey(log, red)
    deliver(log, red, blue)
    assert red.room.commits.successor is not None
    ahead = epoch_id(red.room.commits.successor)
    assert ahead != blue.room.head
    confirm(log, blue)
    deliver(log, red, blue)
    agree(red, blue)
    assert blue.room.head == ahead


def test_two_commits_of_one_epoch_lead_to_different_epoch_ids(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    for member in (red, blue):
        member.room.prepare_commit(())
    assert red.room.commits.successor is not None
    assert blue.room.commits.successor is not None
    assert red.room.commits.successor.epoch == blue.room.commits.successor.epoch
    assert epoch_id(red.room.commits.successor) != epoch_id(blue.room.commits.successor)


def test_ids_are_hashes_with_separate_labels() -> None:
    assert rekey_id(b"payload") == hashlib.sha256(b"clave rekey\0payload").digest()
    assert header_digest(b"header") == b"clave header\0" + hashlib.sha256(b"header").digest()


def test_a_message_of_another_room_or_type_is_refused(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    parsed = parse_entry(say(log, red, "hello"))
    check_mls_body(parsed, blue.room.group)
    for body in (b"", parsed.body[:20], parsed.body + b"\0"):
        parsed.body = body
        with pytest.raises(PeerError):
            check_mls_body(parsed, blue.room.group)


def test_a_signature_covers_sender_room_and_header(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    header = red.header(Kind.LOST)
    payload = sign_payload(red.room.id, header, red.account.device)
    entry = Entry(red.room.id, 2, red.device, 1, Kind.LOST, 0, payload)
    check_signature(parse_entry(entry))
    other = pack_header(red.header(Kind.LOST, head=b"h" * 32)) + payload[-64:]
    for fields in ({"room": b"s" * 16}, {"sender": b"d" * 32}, {"payload": other}, {"payload": payload[:-1]}):
        with pytest.raises(PeerError, match="signature"):
            check_signature(parse_entry(msgspec.structs.replace(entry, **fields)))


def test_an_entry_without_a_header_of_its_kind_is_refused(tmp_path: Path) -> None:
    log, (red, _) = in_one_room(tmp_path, "red", "blue")
    with pytest.raises(PeerError, match="label"):
        parse_entry(log.entry(red, Forged(Kind.CONFIRM, pack_header(red.header(Kind.LOST)))))
    with pytest.raises(PeerError):
        parse_entry(log.entry(red, Forged(Kind.LOST, b"")))
