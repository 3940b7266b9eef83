"""What becomes of what a device submits, also when it does not remember."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from clave_client import events
from clave_client.errors import RelayFault
from clave_client.events import Inconsistency
from clave_client.formats.content import MAX_BODY_BYTES
from clave_crypto.mls.framing import PublicMessage, decode_message
from clave_wire.header import Header, split_payload
from clave_wire.messages import Accepted, Code, Rejected
from client.memory_relay import agree, confirm, deliver, feed, in_one_room, kinds, lies, resume, say


def test_own_entries_in_the_log_count_as_acknowledged(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    say(log, red, "hello")
    say(log, blue, "hi")
    red.restarts()
    resume(red, log)
    outcome = feed(red, log.entries[red.room.record.cursor :])
    assert kinds(outcome) == ["Sent", "Message"]
    assert not red.room.outbox
    deliver(log, blue)
    say(log, red, "our chains agree")
    assert lies(deliver(log, blue)[0]) == []


def test_an_unknown_acknowledgement_refuses_the_batch(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    say(log, red, "hello")
    entry = log.entries[-1]
    with pytest.raises(RelayFault, match="never sent"):
        feed(blue, [entry, Accepted(blue.room.id, 77, entry.seq + 1)])
    blue.restarts()
    assert blue.texts() == []
    resume(blue, log)
    deliver(log, blue)
    assert blue.texts() == ["hello"]


def test_an_acknowledgement_under_a_number_taken_already_is_a_fault(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    red.says("hello")
    (submit,) = red.room.prepare_messages()
    with pytest.raises(RelayFault, match="taken already"):
        feed(red, [Accepted(red.room.id, submit.submission, 1)])


def test_a_refused_message_in_the_log_is_reported(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.says("refused, and yet")
    (submit,) = red.room.prepare_messages()
    feed(red, [Rejected(red.room.id, submit.submission, Code.STALE, "another change came first")])
    log.append(red, submit)
    outcome = feed(red, [log.entries[-1]])
    assert lies(outcome) == [Inconsistency.STORED]
    assert "Sent" in kinds(outcome), "it was sent all the same, and is not sent again"
    assert not red.room.outbox
    deliver(log, blue)
    assert blue.texts() == ["refused, and yet"]


def test_refused_payloads_are_kept_as_digests_only(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    red.says("x" * MAX_BODY_BYTES)
    for code in (Code.STALE, Code.TOO_LARGE):
        (submit,) = red.room.prepare_messages()
        feed(red, [Rejected(red.room.id, submit.submission, code, "no")])
        assert submit.payload in red.room.refused_payloads
        assert not red.room.in_flight
        assert {len(kept) for kept in red.room.refused_payloads.digests} == {32}
    for number in range(2000):
        red.room.refused_payloads = red.room.refused_payloads.with_added(number.to_bytes(2, "big"))
    assert len(red.room.refused_payloads.digests) == 1000


def test_a_resubmitted_payload_no_longer_counts_as_refused(tmp_path: Path) -> None:
    log, (red, _) = in_one_room(tmp_path, "red", "blue")
    red.says("twice")
    (submit,) = red.room.prepare_messages()
    feed(red, [Rejected(red.room.id, submit.submission, Code.STALE, "another change came first")])
    (again,) = red.room.prepare_messages()
    assert again.payload == submit.payload
    assert submit.payload not in red.room.refused_payloads
    log.append(red, again)
    assert lies(*deliver(log, red)) == []


def test_a_logged_rekey_refused_for_good_is_reported_and_applies(tmp_path: Path) -> None:
    log, (red, blue, _) = in_one_room(tmp_path, "red", "blue", "green")
    submit = red.room.prepare_commit([])
    log.entries.append(msgspec.structs.replace(log.entry(red, submit), submission=submit.submission + 1))
    feed(red, log.entries[-1:])
    outcome = feed(red, [Rejected(red.room.id, submit.submission, Code.BAD_REQUEST, "no")])
    assert lies(outcome) == [Inconsistency.STORED]
    deliver(log, blue)
    confirm(log, blue)
    deliver(log, red, blue)
    agree(red, blue)


def test_a_logged_message_refused_for_good_is_reported(tmp_path: Path) -> None:
    log, (red, _) = in_one_room(tmp_path, "red", "blue")
    red.says("x" * MAX_BODY_BYTES)
    (submit,) = red.room.prepare_messages()
    outcome = feed(red, [Rejected(red.room.id, submit.submission, Code.TOO_LARGE, "too\x1blarge")])
    (event,) = outcome.events
    assert isinstance(event, events.SendFailed)
    assert event.reason == "too<U+001B>large"
    assert not red.room.outbox
    log.append(red, submit)
    assert lies(feed(red, [log.entries[-1]])) == [Inconsistency.STORED]


def test_header_count_is_of_messages_only(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    red.says("one")
    red.says("two")
    headers = [split_payload(submit.payload)[0] for submit in red.room.prepare_messages()]
    assert [header.count for header in headers] == [1, 2]
    assert isinstance(headers[0], Header)
    assert split_payload(red.room.prepare_rejoin_request().payload)[0].count == 0


def test_a_room_too_old_to_send_says_so(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    record = red.room.record
    say(log, red, "after the backup")
    red.room.record = record
    (notice,) = resume(red, log)
    assert isinstance(notice, events.Notice)
    assert "too old" in notice.text
    for attempt in (lambda: red.says("x"), lambda: red.room.prepare_commit(())):
        with pytest.raises(Exception, match="backup"):
            attempt()
    assert blue.room.too_old is False
    assert not red.room.may_send
    assert not red.room.may_commit
    deliver(log, red)
    red.room.start_leaving()
    before = red.room.group.state().ratchets
    submit = red.room.prepare_leave()
    _, _, body = split_payload(submit.payload)
    assert isinstance(decode_message(body), PublicMessage)
    assert red.room.group.state().ratchets == before, "leaving uses no key"
    log.append(red, submit)
    assert kinds(deliver(log, blue)[0]) == ["Message", "MemberLeft"]
