"""What a client makes of a log, also of one that a malicious relay or member made."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from clave_client import events, policy
from clave_client.content import MAX_BODY_BYTES
from clave_client.errors import RelayFault
from clave_client.log_reader import Settled
from clave_client.policy import RoomPolicy
from clave_client.room import Room
from clave_client.store import Phase
from clave_crypto.mls import (
    Add,
    Group,
    NoPolicy,
    PolicyRejected,
    Remove,
    decode_key_package,
)
from clave_crypto.mls.framing import PublicMessage, decode_message
from clave_wire.messages import Accepted, Code, Entry, Kind, Rejected
from client.memory_relay import NOW, Member, clock, deliver, feed, in_one_room, kinds, resume, say


def test_everyone_reads_the_same_and_nobody_their_own(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    say(log, red, "hello")
    say(log, blue, "hi")
    from_red, from_blue = deliver(log, red, blue)
    assert kinds(from_red) == ["Sent", "Message"]
    assert kinds(from_blue) == ["Message", "Sent"]
    assert red.texts() == blue.texts() == ["hello", "hi"]


def test_an_omission_is_noticed_and_nothing_is_taken(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    for text in ("one", "two", "three"):
        say(log, red, text)
    first, _, third = log.entries[1:]
    before = blue.room.group.state()
    with pytest.raises(RelayFault, match="left out"):
        feed(blue, [first, third])
    assert blue.room.group.state() == before
    assert blue.texts() == []
    deliver(log, blue)
    assert blue.texts() == ["one", "two", "three"]


def test_a_repeated_entry_is_shown_once(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    entry = say(log, red, "once")
    deliver(log, blue)
    assert kinds(feed(blue, [entry])) == [], "an entry the cursor has passed is nothing"
    again = msgspec.structs.replace(entry, seq=entry.seq + 1)
    assert kinds(feed(blue, [again])) == ["Notice"], "the same ciphertext under a new number is refused"
    assert blue.texts() == ["once"]


@pytest.mark.parametrize(
    "label",
    [{"kind": Kind.COMMIT}, {"kind": Kind.PROPOSAL}, {"epoch": 0}, {"epoch": 2}, {"payload": b"garbage"}],
)
def test_a_wrong_label_is_refused_and_changes_nothing(tmp_path: Path, label: dict[str, object]) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    entry = msgspec.structs.replace(say(log, red, "hello"), **label)
    before = blue.room.group.state()
    assert kinds(feed(blue, [entry])) == ["Notice"]
    assert blue.room.group.state() == before
    assert blue.texts() == []
    assert blue.room.record.cursor == entry.seq


def test_a_false_sender_is_told_and_the_signature_counts(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    entry = msgspec.structs.replace(say(log, red, "hello"), sender=b"x" * 32)
    notice, message = feed(blue, [entry]).events
    assert isinstance(notice, events.Notice)
    assert isinstance(message, events.Message)
    assert message.sender.name == "red"


def test_an_entry_labelled_as_ones_own_is_still_read(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    entry = msgspec.structs.replace(say(log, red, "hello"), sender=blue.account.device.public)
    assert "Message" in kinds(feed(blue, [entry]))


def test_an_equivocating_relay_is_noticed_at_the_next_message(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    entry = say(log, red, "for all")
    other = msgspec.structs.replace(entry, payload=b"something else")
    deliver(log, red, blue)
    feed(green, [other])
    assert "Diverged" not in kinds(deliver(log, red)[0])
    say(log, blue, "hello green")
    assert "Diverged" not in kinds(deliver(log, red)[0]), "who saw the same is not accused"
    assert "Diverged" in kinds(feed(green, [log.entries[-1]]))


def test_a_refused_message_goes_out_again_encrypted_anew_under_the_same_id(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.says("late")
    (first,) = red.room.prepare_messages()
    log.append(blue, blue.room.prepare_commit(()))
    deliver(log, blue)
    rejected = Rejected(red.room.id, first.submission, Code.STALE_EPOCH, "the room has moved on")
    feed(red, [rejected])
    assert red.room.prepare_messages() == [], "nothing is sent into an epoch that the relay has left"
    deliver(log, red)
    (second,) = red.room.prepare_messages()
    assert second.epoch == first.epoch + 1
    assert second.submission > first.submission
    assert second.payload != first.payload
    log.append(red, second)
    sent, message = deliver(log, red, blue)
    (was_sent,), (was_read,) = sent.events, message.events
    assert isinstance(was_sent, events.Sent)
    assert isinstance(was_read, events.Message)
    assert was_sent.id == was_read.id
    assert red.texts() == blue.texts() == ["late"]


def test_a_refusal_for_good_is_told_and_dropped(tmp_path: Path) -> None:
    _, (red,) = in_one_room(tmp_path, "red")
    red.says("x" * MAX_BODY_BYTES)
    (submit,) = red.room.prepare_messages()
    outcome = feed(red, [Rejected(red.room.id, submit.submission, Code.TOO_LARGE, "too\x1blarge")])
    (event,) = outcome.events
    assert isinstance(event, events.SendFailed)
    assert event.reason == "too<U+001B>large"
    assert not red.room.outbox


def test_what_was_sent_without_an_answer_is_sent_again_as_it_was(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.says("one")
    red.says("two")
    sent = red.room.prepare_messages()
    red.restarts()
    resume(red, log)
    assert red.room.prepare_resubmission() == sent
    assert red.room.prepare_messages() == [], "nothing is encrypted twice"
    for submit in sent:
        log.append(red, submit)
    deliver(log, red, blue)
    assert red.room.prepare_resubmission() == []
    assert blue.texts() == ["one", "two"]


def test_ones_own_entries_from_the_log_count_as_acknowledged(tmp_path: Path) -> None:
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
    assert "Diverged" not in kinds(deliver(log, blue)[0])


def test_ones_own_commit_is_merged_out_of_the_log_after_a_restart(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    log.append(red, red.room.prepare_commit(()))
    red.restarts()
    assert red.room.pending is not None
    resume(red, log)
    outcome = feed(red, log.entries[red.room.record.cursor :])
    assert outcome.settled is Settled.WON
    deliver(log, blue)
    assert red.room.group.epoch_authenticator == blue.room.group.epoch_authenticator


def test_the_first_commit_in_the_log_wins_and_the_other_is_discarded(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    lost = red.room.prepare_commit(())
    log.append(blue, blue.room.prepare_commit(()))
    outcome = deliver(log, red)[0]
    assert outcome.settled is Settled.LOST
    assert red.room.pending is None
    assert feed(red, [Rejected(red.room.id, lost.submission, Code.STALE_EPOCH, "")]).events == []
    deliver(log, blue)
    assert red.room.group.epoch_authenticator == blue.room.group.epoch_authenticator


def test_a_commit_against_the_rules_is_refused_and_reported_by_all(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    villain = Group.restore(blue.room.group.state(), policy=NoPolicy())
    pending = villain.commit([Remove(green.room.group.own_leaf)], now=int(NOW))
    entry = Entry(red.room.id, 2, blue.account.device.public, 99, Kind.COMMIT, 1, pending.message)
    for honest in (red, green):
        before = honest.room.group.state()
        outcome = feed(honest, [entry])
        assert outcome.invalid == [(1, 2)]
        assert kinds(outcome) == ["Notice"]
        assert honest.room.group.state() == before
    log.entries.append(entry)
    feed(blue, [entry])
    log.append(red, red.room.prepare_commit(()))
    deliver(log, red, green)
    say(log, red, "we go on")
    deliver(log, green)
    assert green.texts() == ["we go on"]


def test_a_proposal_against_the_rules_does_not_hold_anyone_up(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    villain = Group.restore(blue.room.group.state(), policy=NoPolicy())
    payload = villain.propose(Remove(green.room.group.own_leaf), now=int(NOW))
    entry = Entry(red.room.id, 2, blue.account.device.public, 99, Kind.PROPOSAL, 1, payload)
    log.entries.append(entry)
    for honest in (red, green):
        feed(honest, [entry])
        assert not honest.room.commit_due
        assert honest.room.may_send


def test_no_proposal_but_leaving_holds_anyone_up(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    unknown = Member(tmp_path, "ghost")
    add = Add(decode_key_package(unknown.key_package()))
    with pytest.raises(PolicyRejected, match="leaving"):
        red.room.group.propose(add, now=int(NOW))
    villain = Group.restore(red.room.group.state(), policy=NoPolicy())
    for payload in (villain.propose(add, now=int(NOW)), villain.propose_update(now=int(NOW))):
        log.entries.append(
            Entry(red.room.id, len(log.entries) + 1, red.account.device.public, 99, Kind.PROPOSAL, 1, payload)
        )
    feed(blue, log.entries[-2:])
    assert not blue.room.commit_due
    assert blue.room.may_send


def test_a_room_takes_no_more_devices_than_the_relay_can_carry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (red, blue, _) = in_one_room(tmp_path, "red", "blue", "green")
    monkeypatch.setattr(policy, "MAX_DEVICES", 4)
    newcomers = [Add(decode_key_package(Member(tmp_path, name).key_package())) for name in ("white", "black")]
    assert len(blue.room.group.commit(newcomers[:1], now=int(NOW)).added) == 1
    assert len(red.room.group.commit([*newcomers, Remove(2)], now=int(NOW)).added) == 2
    with pytest.raises(PolicyRejected, match="at most 4 devices"):
        red.room.group.commit(newcomers, now=int(NOW))


def test_leaving_is_a_proposal_that_the_others_commit(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    blue.room.start_leaving()
    submit = blue.room.prepare_leave()
    assert submit.remove == [blue.account.device.public]
    entry = log.append(blue, submit)
    assert kinds(feed(blue, [Accepted(blue.room.id, submit.submission, entry.seq)])) == ["RoomClosed"]
    assert blue.room.record.phase is Phase.CLOSED
    assert blue.store.part(blue.room.id, "epoch") is None, "the keys are gone"
    for other in (red, green):
        assert kinds(deliver(log, other)[0]) == ["MemberLeft"]
        assert other.room.commit_due
        assert not other.room.may_send, "nothing is said to who has left"
    everyone = [member.account.device.public for member in (red, blue, green)]
    assert (red.room.roster.own_rank(everyone), green.room.roster.own_rank(everyone)) == (0, 1)
    assert green.room.roster.own_rank([]) == 0, "who is not there is not waited for"
    log.append(red, red.room.prepare_commit(()))
    for outcome in deliver(log, red, green):
        assert "MemberRemoved" not in kinds(outcome), "leaving is not being thrown out"
    assert [person.name for person in green.room.roster.people().values()] == ["red", "green"]


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
    red.room.start_leaving()
    before = red.room.group.state().ratchets
    submit = red.room.prepare_leave()
    assert isinstance(decode_message(submit.payload), PublicMessage)
    assert red.room.group.state().ratchets == before, "leaving uses no key"
    log.append(red, submit)
    assert kinds(deliver(log, blue)[0]) == ["Message", "MemberLeft"]


def test_the_relays_member_list_is_compared_with_the_groups(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    mine, other, stranger = red.account.device.public, blue.account.device.public, b"s" * 32
    assert red.room.roster.compare_routing([mine, other]) == ([], [])
    assert red.room.roster.compare_routing([mine]) == ([other], [])
    assert red.room.roster.compare_routing([mine, other, stranger]) == ([], [stranger])


def test_nobody_changes_identity(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    leaves = [member.leaf for member in red.room.group.members()]
    with pytest.raises(PolicyRejected, match="change identity"):
        RoomPolicy().check_successor(*leaves)
    RoomPolicy().check_successor(leaves[0], leaves[0])


def test_the_inviter_is_who_signed_the_welcome(tmp_path: Path) -> None:
    _, (_, blue) = in_one_room(tmp_path, "red", "blue")
    green = Member(tmp_path, "green")
    submit = blue.room.prepare_commit([Add(decode_key_package(green.key_package()))])
    joined = Group.join(submit.welcome, green.account.bundle, policy=RoomPolicy(), other_groups=())
    invited = Room.join(green.store, joined, 2, clock).invitation()
    assert invited.inviter.name == "blue"
    assert invited.members == ("red", "blue")


def test_an_acknowledgement_of_nothing_takes_nothing_with_it(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    say(log, red, "hello")
    entry = log.entries[-1]
    with pytest.raises(RelayFault, match="never sent"):
        feed(blue, [entry, Accepted(blue.room.id, 77, entry.seq + 1)])
    blue.restarts()
    assert blue.texts() == []
    deliver(log, blue)
    assert blue.texts() == ["hello"]


def test_messages_that_waited_in_a_closed_room_are_named(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    blue.says("too late")
    log.append(red, red.room.prepare_commit([Remove(blue.room.group.own_leaf)]))
    assert "RoomClosed" in kinds(deliver(log, blue)[0])
    assert len(blue.room.unsent) == 1
