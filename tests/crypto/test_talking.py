"""Application messages: who can read them, in which order, and for how long."""

from __future__ import annotations

import pytest

from clave_crypto.mls import (
    Application,
    DecryptionError,
    GroupClosedError,
    LocalError,
    MalformedError,
    OwnMessageError,
    Remove,
    ReplayError,
    TooFarAheadError,
    ValidationError,
    WrongEpochError,
    WrongGroupError,
    authenticated_data,
    decode_key_package,
    encode_message,
    peek,
)
from clave_crypto.mls.padding import pad_to_bucket
from groupkit import NOW, Party, form
from rulekit import refused


def test_everyone_reads_what_anyone_says() -> None:
    parties = form("red", "green", "blue")
    for speaker in parties:
        message = speaker.group.encrypt(b"hello", authenticated_data=b"seen")
        for listener in parties:
            if listener is not speaker:
                received = listener.sees(message)
                assert received == Application(
                    speaker.group.own_leaf,
                    listener.group.member(speaker.group.own_leaf).signature_key,
                    speaker.name.encode(),
                    speaker.group.epoch,
                    b"hello",
                    b"seen",
                )


def test_own_message_is_told_apart() -> None:
    red, blue = form("red", "blue")
    refused(red, red.group.encrypt(b"hello"), OwnMessageError)
    refused(red, red.group.propose(Remove(1), now=NOW), OwnMessageError)
    refused(blue, blue.group.commit(now=NOW).message, OwnMessageError)


def test_replay_is_refused() -> None:
    red, blue = form("red", "blue")
    message = red.group.encrypt(b"hello")
    assert blue.hears(message) == b"hello"
    refused(blue, message, ReplayError)


def test_messages_arrive_in_any_order() -> None:
    red, blue = form("red", "blue")
    messages = [red.group.encrypt(bytes([n])) for n in range(8)]
    for n in (3, 0, 7, 5, 1, 2, 6, 4):
        assert blue.hears(messages[n]) == bytes([n])
        blue.restart()
    for message in messages:
        refused(blue, message, ReplayError)


def test_a_generation_too_far_ahead_is_refused() -> None:
    red, blue = form("red", "blue")
    for _ in range(1001):
        message = red.group.encrypt(b"")
    refused(blue, red.group.encrypt(b""), TooFarAheadError)
    assert blue.hears(message) == b""


@pytest.mark.parametrize("length", [0, 1, 150, 300, 5000, 70_000])
def test_length_is_hidden_in_buckets(length: int) -> None:
    red, blue = form("red", "blue")
    shorter, longer = red.group.encrypt(bytes(length)), red.group.encrypt(bytes(length + 1))
    assert len(shorter) >= 256
    assert blue.hears(shorter) == bytes(length)
    assert blue.hears(longer) == bytes(length + 1)


def test_padding_grows_by_at_most_an_eighth() -> None:
    lengths = [pad_to_bucket(n) for n in range(1, 10_000)]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) < 100
    assert all(n <= padded <= max(256, n * 1.13) for n, padded in enumerate(lengths, 1))


def test_another_groups_message_is_refused() -> None:
    red, _ = form("red", "blue")
    other = Party("green")
    other.create(b"another room")
    refused(red, other.group.encrypt(b""), WrongGroupError)


def test_other_message_kinds_are_refused() -> None:
    red, blue = form("red", "blue")
    refused(red, encode_message(blue.offer().key_package), MalformedError)
    refused(red, b"", MalformedError)


def test_key_package_messages_are_told_apart() -> None:
    red, _ = form("red", "blue")
    with pytest.raises(MalformedError):
        decode_key_package(red.group.encrypt(b""))


def test_blank_leaf_has_no_member() -> None:
    (red,) = form("red")
    with pytest.raises(LocalError):
        red.group.member(1)


def test_peek_tells_group_epoch_and_type() -> None:
    red, blue = form("red", "blue")
    assert peek(red.group.encrypt(b"")) == (b"room", 1, 1)
    assert peek(red.group.propose(Remove(1), now=NOW)) == (b"room", 1, 2)
    assert peek(blue.group.commit(now=NOW).message) == (b"room", 1, 3)
    assert peek(blue.group.commit(now=NOW, public=True).message) == (b"room", 1, 3)
    with pytest.raises(MalformedError):
        peek(encode_message(blue.offer().key_package))


@pytest.mark.parametrize("public", [False, True])
def test_authenticated_data_is_readable_and_bound(public: bool) -> None:
    red, blue = form("red", "blue")
    data = b"in the clear"
    messages = [
        red.group.propose_update(now=NOW, public=public, authenticated_data=data),
        blue.group.propose(Remove(1), now=NOW, public=public, authenticated_data=data),
        red.group.commit(now=NOW, public=public, authenticated_data=data).message,
    ]
    for reader, message in zip((blue, red, blue), messages, strict=True):
        assert authenticated_data(message) == b"in the clear"
        assert message.count(b"in the clear") == 1
        forged = message.replace(b"in the clear", b"in the cloud")
        assert authenticated_data(forged) == b"in the cloud"
        refused(reader, forged, ValidationError if public else DecryptionError)
        assert reader.sees(message).authenticated_data == b"in the clear"


def test_authenticated_data_is_of_messages_to_a_group() -> None:
    (red,) = form("red")
    assert authenticated_data(red.group.encrypt(b"hi", authenticated_data=b"seen")) == b"seen"
    assert authenticated_data(red.group.encrypt(b"hi")) == b""
    for message in (red.group.group_info(), encode_message(red.offer().key_package), b""):
        with pytest.raises(MalformedError):
            authenticated_data(message)


def test_messages_of_two_past_epochs_open_and_no_older() -> None:
    red, blue, green = form("red", "blue", "green")
    messages = []
    for _ in range(4):
        messages.append(green.group.encrypt(b"late"))
        red.commits(to=[blue, green])
    blue.restart()
    refused(blue, messages[0], WrongEpochError)
    refused(blue, messages[1], WrongEpochError)
    for message in messages[2:]:
        assert blue.hears(message) == b"late"
        refused(blue, message, ReplayError)


def test_late_message_of_a_removed_member_is_decrypted() -> None:
    red, blue, green = form("red", "blue", "green")
    late = green.group.encrypt(b"bye")
    red.commits([Remove(2)], to=[blue])
    red.adds(Party("white"), to=[blue])
    blue.restart()
    received = blue.sees(late)
    assert (received.identity, received.sender) == (b"green", 2)


def test_past_handshake_messages_are_refused() -> None:
    red, blue, green = form("red", "blue", "green")
    proposal = green.group.propose_update(now=NOW)
    red.commits(to=[blue])
    assert refused(blue, proposal, WrongEpochError).epoch == 1


def test_future_epoch_is_refused() -> None:
    red, blue = form("red", "blue")
    red.commits()
    assert refused(blue, red.group.encrypt(b""), WrongEpochError).epoch == 2


def test_export_is_shared_and_changes() -> None:
    red, blue = form("red", "blue")
    exported = red.group.export("label", b"context", 48)
    assert exported == blue.group.export("label", b"context", 48)
    assert len(exported) == 48
    assert exported != red.group.export("label", b"other", 48)
    assert exported != red.group.export("other", b"context", 48)
    red.commits(to=[blue])
    assert exported != red.group.export("label", b"context", 48)


@pytest.mark.parametrize("length", [-5, 0, 255 * 32 + 1, 1 << 16])
def test_export_length_is_bounded(length: int) -> None:
    red, _ = form("red", "blue")
    with pytest.raises(LocalError, match="1 to 8160 bytes" if length >= 0 else "length must be from 0"):
        red.group.export("label", b"", length)
    assert len(red.group.export("label", b"", 255 * 32)) == 255 * 32


def test_resumption_key_is_shared_by_members_and_differs_by_epoch() -> None:
    red, blue, green = form("red", "blue", "green")
    before = red.group.resumption_psk
    assert before == blue.group.resumption_psk
    red.commits([Remove(2)], to=[blue, green])
    assert red.group.resumption_psk == blue.group.resumption_psk != before
    with pytest.raises(GroupClosedError):
        green.group.resumption_psk  # noqa: B018 - raises


def test_refused_message_keeps_its_key() -> None:
    red, blue = form("red", "blue")
    message = red.group.encrypt(b"hello")

    def refuse(application: Application) -> None:
        assert application.data == b"hello"
        raise ZeroDivisionError

    before = blue.group.state()
    with pytest.raises(ZeroDivisionError):
        blue.group.receive(message, check=refuse)
    assert blue.group.state() == before
    assert blue.hears(message) == b"hello"
    with pytest.raises(ReplayError):
        blue.group.receive(message, check=refuse)
