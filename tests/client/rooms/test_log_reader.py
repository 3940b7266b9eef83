"""What a client makes of a log, also of one that a malicious relay or member made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from clave_client.errors import RelayFault
from clave_client.events import Inconsistency
from clave_client.formats.former_state import FormerRole
from clave_client.formats.payload import sign_payload
from clave_client.rooms.batch_report import BatchResult
from clave_client.values import Phase
from clave_crypto.mls import Group, PolicyRejected, Proposal, Remove
from clave_wire.header import Seen, pack_header, split_payload
from clave_wire.messages import Entry, Kind
from client.memory_relay import (
    NOW,
    Forged,
    Log,
    Member,
    deliver,
    feed,
    forge,
    in_one_room,
    kinds,
    lies,
    rekey,
    resume,
    say,
)


def ignores(member: Member, entry: Entry) -> BatchResult:
    """Check that an entry changes nothing of a member's room but where it stands, also on disk."""
    before = member.everything()
    outcome = feed(member, [entry])
    assert member.everything() == before
    assert member.room.record.cursor == entry.seq
    assert (outcome.commit_result, outcome.rejoin_requests) == (None, [])
    member.restarts()
    assert member.everything() == before
    return outcome


def made(log: Log, kind: Kind, red: Member, blue: Member, green: Member) -> Entry:
    """Return the next entry, a good one by red of this kind; green is to judge it."""
    match kind:
        case Kind.APPLICATION:
            red.says("hello")
            (submit,) = red.room.prepare_messages()
        case Kind.PROPOSAL:
            red.room.start_leaving()
            submit = red.room.prepare_leave()
        case Kind.COMMIT:
            submit = red.room.prepare_commit(
                [Member(red.folder, f"white{len(list(red.folder.iterdir()))}").add()]
            )
        case Kind.REKEY:
            submit = red.room.prepare_commit(())
        case Kind.CONFIRM:
            rekey(log, blue)
            deliver(log, red, green)
            assert red.room.confirmable is not None
            submit = red.room.prepare_confirm(red.room.confirmable)
        case Kind.LOST:
            submit = red.room.prepare_rejoin_request()
        case Kind.GROUP_INFO:
            submit = red.room.prepare_rejoin_info(green.device)
    assert submit.kind is kind
    return log.entry(red, submit)


def changed(entry: Entry, **fields: object) -> Entry:
    """Return an entry with another header before the same body."""
    header, _, body = split_payload(entry.payload)
    other = msgspec.structs.replace(header, **fields)
    return msgspec.structs.replace(entry, kind=other.kind, payload=pack_header(other) + body)


# --- what everybody reads ------------------------------------------------------------------------------


def test_members_read_the_same_messages_without_their_own(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    say(log, red, "hello")
    say(log, blue, "hi")
    from_red, from_blue = deliver(log, red, blue)
    assert kinds(from_red) == ["Sent", "Message"]
    assert kinds(from_blue) == ["Message", "Sent"]
    assert red.texts() == blue.texts() == ["hello", "hi"]


def test_an_omitted_entry_is_noticed_and_the_batch_refused(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    for text in ("one", "two", "three"):
        say(log, red, text)
    first, _, third = log.entries[1:]
    before = blue.everything()
    with pytest.raises(RelayFault, match="left out"):
        feed(blue, [first, third])
    blue.room.reload()
    assert blue.everything() == before
    assert blue.room.record.cursor == 1
    resume(blue, log)
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


@pytest.mark.parametrize("kind", Kind)
def test_unchanged_entries_are_accepted(tmp_path: Path, kind: Kind) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    entry = made(log, kind, red, blue, green)
    before, helped = green.everything(), green.room.rejoin_infos[green.device]
    outcome = feed(green, [entry])
    told = {
        Kind.APPLICATION: ["Message"],
        Kind.PROPOSAL: ["MemberLeft"],
        Kind.COMMIT: ["MemberAdded"],
    }
    assert kinds(outcome) == told.get(kind, [])
    assert outcome.rejoin_requests == ([red.device] if kind is Kind.LOST else [])
    assert green.room.rejoin_infos[green.device] - helped == (kind is Kind.GROUP_INFO)
    assert (green.everything() == before) == (kind in (Kind.LOST, Kind.GROUP_INFO))


# --- the header is what the body signs -----------------------------------------------------------------

OTHERS: dict[str, object] = {
    "head": b"h" * 32,
    "seen": Seen(1, b"h" * 32),
    "count": 77,
    "add": [b"a" * 32],
    "remove": [b"a" * 32],
    "ref": b"r" * 32,
}


@pytest.mark.parametrize("field", OTHERS)
@pytest.mark.parametrize("kind", Kind)
def test_no_field_of_a_header_can_be_changed(tmp_path: Path, kind: Kind, field: str) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    entry = made(log, kind, red, blue, green)
    helped = green.room.rejoin_infos.copy()
    outcome = ignores(green, changed(entry, **{field: OTHERS[field]}))
    assert not {"Message", "MemberLeft", "MemberAdded", "MemberRemoved"} & set(kinds(outcome))
    assert green.room.rejoin_infos == helped


@pytest.mark.parametrize("label", Kind)
@pytest.mark.parametrize("kind", Kind)
def test_no_kind_can_be_changed(tmp_path: Path, kind: Kind, label: Kind) -> None:
    if label is kind:
        return
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    entry = made(log, kind, red, blue, green)
    outside = msgspec.structs.replace(entry, kind=label)
    assert kinds(ignores(green, outside)) == ["Notice"], "the label outside is the one inside"
    both = msgspec.structs.replace(changed(entry, kind=label), seq=entry.seq + 1)
    ignores(green, both)
    assert green.room.rejoin_infos[green.device] == 0


@pytest.mark.parametrize("kind", [Kind.APPLICATION, Kind.COMMIT, Kind.REKEY])
def test_a_header_with_the_body_of_another_entry_is_refused(tmp_path: Path, kind: Kind) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    one = made(log, kind, red, blue, green)
    if red.room.commits.newest is not None:
        red.room.cancel_commit()
    red.room.in_flight.clear()
    red.room.outbox.drop(red.room.outbox.waiting()[0]) if red.room.outbox else None
    say(log, blue, "meanwhile")
    deliver(log, red, green)
    two = made(log, kind, red, blue, green)
    _, header, _ = split_payload(one.payload)
    _, _, body = split_payload(two.payload)
    ignores(green, msgspec.structs.replace(two, payload=header + body))


@pytest.mark.parametrize("payload", [b"", b"garbage", b"\0\0", b"\0\1\xc0", b"\xff\xff"])
@pytest.mark.parametrize("kind", Kind)
def test_garbage_is_reported_once_and_ignored(tmp_path: Path, kind: Kind, payload: bytes) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    entry = log.entry(red, Forged(kind, payload))
    assert kinds(ignores(blue, entry)) == ["Notice"]
    told = [kinds(feed(blue, [msgspec.structs.replace(entry, seq=seq)])) for seq in (3, 4)]
    assert told == [["Notice"], []], "once in a session"


@pytest.mark.parametrize("kind", Kind)
def test_garbage_behind_a_good_header_is_ignored(tmp_path: Path, kind: Kind) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    entry = made(log, kind, red, blue, green)
    _, header, _ = split_payload(entry.payload)
    ignores(green, msgspec.structs.replace(entry, payload=header + b"g" * 64))


# --- the signer is the sender --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["blue", "a stranger", "oneself"])
@pytest.mark.parametrize("kind", Kind)
def test_an_entry_under_anothers_name_is_refused(tmp_path: Path, kind: Kind, name: str) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    sender = {"blue": blue.device, "a stranger": b"x" * 32, "oneself": green.device}[name]
    entry = msgspec.structs.replace(made(log, kind, red, blue, green), sender=sender)
    before = green.everything()
    outcome = feed(green, [entry])
    assert outcome.rejoin_requests == []
    assert green.room.rejoin_infos[green.device] == 0
    assert not {"Message", "MemberLeft", "MemberAdded"} & set(kinds(outcome))
    if name == "oneself" and kind is Kind.COMMIT:
        assert lies(outcome) == [Inconsistency.INVENTED]
    else:
        assert green.everything() == before
    if name == "a stranger" and kind is not Kind.LOST:
        assert outcome.routing_suspect, "the relay routes to somebody who is no member"


@pytest.mark.parametrize("kind", [Kind.APPLICATION, Kind.COMMIT])
def test_an_unknown_entry_under_the_own_name_is_reported(tmp_path: Path, kind: Kind) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    entry = msgspec.structs.replace(made(log, kind, red, blue, green), sender=green.device)
    assert lies(feed(green, [entry])) == [Inconsistency.INVENTED]


# --- the head is the present epoch ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.LOST])
def test_entries_of_a_past_epoch_are_refused(tmp_path: Path, kind: Kind) -> None:
    log, (red, blue, green, grey) = in_one_room(tmp_path, "red", "blue", "green", "grey")
    entry = made(log, kind, red, blue, green)
    deliver(log, grey)
    log.append(grey, grey.room.prepare_commit([Member(tmp_path, "white").add()]))
    deliver(log, green)
    late = msgspec.structs.replace(entry, seq=len(log.entries) + 1)
    outcome = ignores(green, late)
    assert lies(outcome) == ([Inconsistency.BEHIND] if kind is Kind.APPLICATION else [])


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.LOST])
def test_an_unknown_epoch_is_reported_and_starts_a_rejoin(tmp_path: Path, kind: Kind) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    hidden = log.entry(blue, blue.room.prepare_commit([Member(tmp_path, "white").add()]))
    feed(red, [hidden])
    feed(blue, [hidden])
    entry = made(log, kind, red, blue, green) if kind is not Kind.CONFIRM else None
    if entry is None:
        _, _, body = split_payload(log.entries[-1].payload)
        entry = log.entry(red, Forged(kind, pack_header(red.header(kind, ref=b"r" * 32)) + body))
    outcome = ignores(green, entry)
    assert lies(outcome) == [Inconsistency.AHEAD]
    assert outcome.epoch_suspect, "it asks the others once"


# --- the header is what the entry does -----------------------------------------------------------------


def judged(log: Log, judges: list[Member], author: Member, forged: Forged) -> None:
    """Check that nobody takes what a member forged."""
    entry = log.append(author, forged)
    for member in judges:
        assert kinds(ignores(member, entry)) == ["Notice"]
        resume(member, log)
        assert member.room.may_send
        assert member.room.confirmable is None


def commit(*proposals: Proposal, path: bool = False) -> Callable[[Group, bytes], bytes]:
    def make(group: Group, covered: bytes) -> bytes:
        return group.commit(proposals, now=int(NOW), path=path, authenticated_data=covered).message

    return make


def propose(proposal: Proposal | None) -> Callable[[Group, bytes], bytes]:
    def make(group: Group, covered: bytes) -> bytes:
        if proposal is None:
            return group.propose_update(now=int(NOW), authenticated_data=covered)
        return group.propose(proposal, now=int(NOW), authenticated_data=covered)

    return make


@pytest.mark.parametrize("case", ["nobody", "somebody else", "one more", "a removal", "twice"])
def test_a_commit_adds_exactly_whom_its_header_says(tmp_path: Path, case: str) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    white = Member(tmp_path, "white")
    cases: dict[str, dict[str, list[bytes]]] = {
        "nobody": {"add": []},
        "somebody else": {"add": [b"x" * 32]},
        "one more": {"add": [white.device, b"x" * 32]},
        "a removal": {"add": [white.device], "remove": [green.device]},
        "twice": {"add": [white.device, white.device]},
    }
    header = blue.header(Kind.COMMIT, **cases[case])
    judged(log, [red, green], blue, forge(blue, header, commit(white.add())))


def test_a_commit_has_no_path(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    judged(log, [red, green], blue, forge(blue, blue.header(Kind.COMMIT), commit(path=True)))
    out = Remove(2)
    for fields in ({}, {"remove": [green.device]}):
        header = blue.header(Kind.COMMIT, **fields)
        judged(log, [red], blue, forge(blue, header, commit(out)))
        entry = log.entries[-1]
        before = green.everything()
        feed(green, [entry])
        assert green.everything() == before
        assert green.room.record.phase is Phase.JOINED, "a removal without a second account removes nobody"


def test_a_rekey_has_a_path_and_adds_nobody(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    white = Member(tmp_path, "white")
    judged(log, [red, green], blue, forge(blue, blue.header(Kind.REKEY), commit(white.add())))
    for fields in ({}, {"add": [white.device]}):
        header = blue.header(Kind.REKEY, **fields)
        judged(log, [red, green], blue, forge(blue, header, commit(white.add(), path=True)))


@pytest.mark.parametrize("case", ["nobody", "another", "one more", "twice", "an addition"])
def test_a_rekey_removes_exactly_whom_its_header_says(tmp_path: Path, case: str) -> None:
    log, (red, blue, green, white) = in_one_room(tmp_path, "red", "blue", "green", "white")
    fields: dict[str, list[bytes]] = {
        "nobody": {},
        "another": {"remove": [red.device]},
        "one more": {"remove": [green.device, red.device]},
        "twice": {"remove": [green.device, green.device]},
        "an addition": {"remove": [green.device], "add": [b"x" * 32]},
    }[case]
    header = blue.header(Kind.REKEY, **fields)
    judged(log, [red, green, white], blue, forge(blue, header, commit(Remove(2), path=True)))


def test_a_removal_in_the_header_only_is_refused(tmp_path: Path) -> None:
    """A valid update whose header removes somebody would have the relay stop routing to it."""
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    header = blue.header(Kind.REKEY, remove=[green.device])
    judged(log, [red, green], blue, forge(blue, header, commit(path=True)))


@pytest.mark.parametrize("case", ["no header", "another's", "an addition"])
def test_a_leave_can_only_remove_its_sender(tmp_path: Path, case: str) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    fields: dict[str, list[bytes]] = {
        "no header": {},
        "another's": {"remove": [green.device]},
        "an addition": {"remove": [blue.device], "add": [green.device]},
    }[case]
    header = blue.header(Kind.PROPOSAL, **fields)
    judged(log, [red, green], blue, forge(blue, header, propose(Remove(blue.room.group.own_leaf))))


def test_standalone_proposals_other_than_a_leave_are_refused(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    header = blue.header(Kind.PROPOSAL, remove=[blue.device])
    for proposal in (Remove(green.room.group.own_leaf), Member(tmp_path, "ghost").add(), None):
        judged(log, [red, green], blue, forge(blue, header, propose(proposal)))
    with pytest.raises(PolicyRejected, match="leaving"):
        red.room.group.propose(Member(tmp_path, "white").add(), now=int(NOW))


@pytest.mark.parametrize("kind", [Kind.APPLICATION, Kind.PROPOSAL, Kind.COMMIT, Kind.REKEY])
@pytest.mark.parametrize("body", ["message", "leaving", "addition", "update"])
def test_a_body_of_another_kind_is_refused_though_it_covers_the_header(
    tmp_path: Path, kind: Kind, body: str
) -> None:
    """A commit that a member labels a message would begin an epoch that the relay does not know of."""
    fits = {
        "message": Kind.APPLICATION,
        "leaving": Kind.PROPOSAL,
        "addition": Kind.COMMIT,
        "update": Kind.REKEY,
    }
    if fits[body] is kind:
        return
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    white = Member(tmp_path, "white")
    cases: dict[str, tuple[Callable[[Group, bytes], bytes], dict[str, list[bytes]]]] = {
        "message": (lambda group, covered: group.encrypt(b"hello", authenticated_data=covered), {}),
        "leaving": (propose(Remove(blue.room.group.own_leaf)), {"remove": [blue.device]}),
        "addition": (commit(white.add()), {"add": [white.device]}),
        "update": (commit(path=True), {}),
    }
    make, fields = cases[body]
    count = 1 if kind is Kind.APPLICATION else 0
    header = blue.header(kind, count=count, **fields)
    judged(log, [red, green], blue, forge(blue, header, make))


def test_commits_against_the_rooms_rules_are_refused(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green", remove=FormerRole.ADMIN)
    header = blue.header(Kind.REKEY, remove=[green.device])
    judged(log, [red, green], blue, forge(blue, header, commit(Remove(2), path=True)))
    say(log, red, "we go on")
    deliver(log, green)
    assert green.texts() == ["we go on"]


def test_a_signed_entry_of_another_room_is_refused(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, blue)
    deliver(log, red, green)
    waiting = red.room.confirmable
    assert waiting is not None
    for header in (red.header(Kind.CONFIRM, ref=waiting.ref), red.header(Kind.LOST)):
        payload = sign_payload(b"another room....", header, red.account.device)
        ignores(green, log.append(red, Forged(header.kind, payload)))
        resume(green, log)
