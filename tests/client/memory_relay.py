"""A relay in memory: gives a room's submissions their order. Can be told to lie, as a malicious one would."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from clave_client import events
from clave_client.events import Event, Inconsistency
from clave_client.formats.agreed_state import EXTENSION_TYPES
from clave_client.formats.former_state import FORMER_STATE_EXTENSION, FormerRole, FormerState
from clave_client.formats.payload import header_digest, rekey_id, sign_payload
from clave_client.formats.welcome import JoinPoint, Welcome, parse_invitation
from clave_client.rooms.batch_report import BatchResult
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.log_reader import LogMessage, LogReader
from clave_client.rooms.policy import ROOM_LIMITS, RoomPolicy
from clave_client.rooms.suites import NEW_ROOMS
from clave_client.store.account import Account, leaf_lifetime
from clave_client.store.database import Store
from clave_crypto.identity import AccountKey, DeviceKey
from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    CipherSuite,
    Extension,
    Group,
    GroupState,
    MemberSender,
    MLSError,
    NoPolicy,
    Proposal,
    Remove,
    committing,
    decode_key_package,
)
from clave_crypto.mls.committing import make_commit
from clave_crypto.mls.proposals import ContentType, ProposalByValue
from clave_crypto.mls.treekem import encrypt_path
from clave_crypto.mls.update_path import HPKECiphertext, UpdatePath
from clave_wire.header import Header, pack_header
from clave_wire.messages import Accepted, Code, Entry, Kind, Rejected, Resumed, Submit

NOW = 1_800_000_000.0


def clock() -> float:
    return NOW


class Member:
    """Somebody with a store and an account, and one room. A `twin` is another device of the same account."""

    account: Account
    room: LocalRoom
    reader: LogReader

    def __init__(self, folder: Path, name: str, *, twin: Member | None = None) -> None:
        self.name = name
        self.folder = folder
        self.store = Store(folder / f"{name}.db", Secret(b"k" * 32))
        if twin is not None:
            secret = twin.store.get("account_secret")
            assert secret is not None
            device = DeviceKey.generate()
            identity = AccountKey.from_secret(Secret(secret)).certify(twin.account.name, name, device.public)
            self.store.put("identity", identity)
            self.store.put("device_secret", device.secret)
        self.account = Account.load_or_create(self.store, name)

    @property
    def device(self) -> bytes:
        return self.account.device.public

    def key_package(self, suite: CipherSuite = NEW_ROOMS) -> bytes:
        fresh = self.account.key_packages(suite, 0, NOW)
        assert fresh is not None
        return fresh[0][0]

    def add(self) -> Add:
        """Return the proposal to add this device to a room."""
        return Add(decode_key_package(self.key_package()))

    def opens(self, room: LocalRoom) -> None:
        self.room = room
        self.reader = LogReader(room, self.store)

    def restarts(self) -> None:
        """Read everything back from the disk, as after a crash."""
        (record,) = [record for record in self.store.rooms() if record.id == self.room.id]
        self.opens(LocalRoom.load(self.store, record, clock))

    def says(self, text: str) -> bytes:
        return self.room.enqueue_text(text)

    def texts(self) -> list[str]:
        return [line.text for line in self.store.history(self.room.id)]

    def leaf_of(self, other: Member) -> int:
        members = self.room.roster.members().items()
        return next(leaf for leaf, member in members if member.signature_key == other.device)

    def villain(self) -> Group:
        """Return this member's group once more, with no rules and apart from the room."""
        return Group.restore(self.room.group.state(), policy=NoPolicy(), limits=ROOM_LIMITS)

    def header(self, kind: Kind, **fields: object) -> Header:
        """Return the header an honest device would write now, with some fields changed."""
        values: dict[str, object] = {"kind": kind, "head": self.room.head, "seen": self.room.chain.seen()}
        return Header(**(values | fields))  # type: ignore[arg-type]  # what a test wants

    def everything(self) -> tuple[object, ...]:
        """Return all of the room's state that only what counts may change."""
        room = self.room
        record = {field: getattr(room.record, field) for field in room.record.__struct_fields__}
        for moves in ("cursor", "read"):
            del record[moves]
        parts = ("epoch", "ratchets", "commit", "tip", "tip ratchets", "wish", "heads")
        return (
            room.group.state(),
            record,
            [room.part(part) for part in parts],
            self.store.waiting(room.id),
            self.store.outbox(room.id, -1),
            self.store.history(room.id),
            [self.store.last_count(room.id, device) for device in room.roster.devices()],
            room.commits.newest,
            room.intent,
            sorted(rekey.ref for rekey in room.rekeys),
        )


@dataclass(frozen=True)
class Forged:
    """A payload as a test makes it, and what it is labelled as."""

    kind: Kind
    payload: bytes


class Log:
    """The log of one room, kept as an honest relay keeps it unless a test appends to it itself."""

    def __init__(self, *legacy: Entry) -> None:
        self.entries = list(legacy)
        self.legacy = len(legacy)

    def entry(self, member: Member, submit: Submit | Forged) -> Entry:
        """Return the entry an honest relay makes of a submission."""
        number = submit.submission if isinstance(submit, Submit) else self.last(member) + 1
        seq = len(self.entries) + 1
        return Entry(member.room.id, seq, member.device, number, submit.kind, 0, submit.payload)

    def append(self, member: Member, submit: Submit | Forged) -> Entry:
        entry = self.entry(member, submit)
        self.entries.append(entry)
        return entry

    def last(self, member: Member) -> int:
        """Return the highest submission accepted of a device."""
        return max((entry.submission for entry in self.entries if entry.sender == member.device), default=0)

    @property
    def handshake(self) -> int:
        """The last entry that is no message; the last of protocol 3 counts as one."""
        handshakes = (entry.seq for entry in self.entries if entry.kind is not Kind.APPLICATION)
        return max([self.legacy, *handshakes])

    def take(self, member: Member, submit: Submit) -> Rejected | None:
        """Judge a submission by the relay's rules: append it, or return the refusal."""
        if submit.submission != self.last(member) + 1:
            return Rejected(submit.room, submit.submission, Code.OUT_OF_ORDER, "an earlier one was refused")
        if submit.read != self.handshake:
            return Rejected(submit.room, submit.submission, Code.STALE, "another change came first")
        self.append(member, submit)
        return None

    def since(self, member: Member) -> list[LogMessage]:
        """Return what an honest relay sends a member: its own as acknowledgements."""
        return [
            Accepted(e.room, e.submission, e.seq)
            if e.sender == member.device and e.submission in member.room.in_flight
            else e
            for e in self.entries[member.room.record.cursor :]
        ]


def in_one_room(
    folder: Path, *names: str, remove: FormerRole = FormerRole.MEMBER, current: bool = True
) -> tuple[Log, list[Member]]:
    """Make a room in which all of `names` are, everyone caught up. "red/desk" is another device of red's.

    `remove` says who may remove people; the first is the admin. Without `current` the first reads only the
    former content format.
    """
    members: list[Member] = []
    for name in names:
        owner, _, device = name.partition("/")
        twin = next((member for member in members if device and member.name == owner), None)
        members.append(Member(folder, device or owner, twin=twin))
    host, *guests = members
    admin = host.account.verified.account
    state = FormerState(1, "friends", [admin], FormerRole.MEMBER, remove, FormerRole.MEMBER)
    not_before, not_after = leaf_lifetime(NOW)
    group = Group.create(
        NEW_ROOMS,
        b"r" * 16,
        host.account.identity,
        host.account.device.secret,
        policy=RoomPolicy(),
        extensions=(Extension(FORMER_STATE_EXTENSION, state.encode()),),
        not_before=not_before,
        not_after=not_after,
        extension_types=EXTENSION_TYPES if current else (FORMER_STATE_EXTENSION,),
    )
    log = Log()
    host.opens(LocalRoom.create(host.store, group, clock))
    resume(host, log)
    if guests:
        brings_in(log, host, *guests)
    return log, members


def brings_in(log: Log, host: Member, *guests: Member) -> Entry:
    """Have a member add others, who accept and catch up."""
    adds: list[Proposal] = [guest.add() for guest in guests]
    submit = host.room.prepare_commit(adds)
    entry = log.append(host, submit)
    deliver(log, host)
    for guest in guests:
        guest.opens(join(guest, submit.welcome, entry.seq))
        guest.room.accept()
        resume(guest, log)
        deliver(log, guest)
    return entry


def join(member: Member, invitation: bytes, seq: int) -> LocalRoom:
    """Take an invitation that came with entry `seq`."""
    welcome = parse_invitation(invitation)
    assert isinstance(welcome, Welcome)
    group = Group.join(
        welcome.message, member.account.bundle, policy=RoomPolicy(), other_groups=(), limits=ROOM_LIMITS
    )
    return LocalRoom.join(member.store, group, JoinPoint(welcome.seen, seq), clock)


def resume(
    member: Member, log: Log, incarnation: bytes = b"", restores: Sequence[tuple[bytes, int]] = ()
) -> list[Event]:
    """Have a member resume at an honest relay."""
    member.room.disconnected()
    answer = Resumed(
        1,
        member.room.id,
        len(log.entries),
        log.handshake,
        log.last(member),
        log.legacy,
        list(restores),
        [],
    )
    told, again = member.room.start(answer, incarnation)
    return [*told, *resume(member, log, incarnation, restores)] if again else told


def deliver(log: Log, *members: Member) -> list[BatchResult]:
    """Give each member what it has not seen."""
    return [member.reader.read(log.since(member)) for member in members]


def say(log: Log, member: Member, text: str) -> Entry:
    """Have a member say something and the relay take it."""
    member.says(text)
    (submit,) = member.room.prepare_messages()
    return log.append(member, submit)


def rekey(log: Log, member: Member, *removed: Member) -> Entry:
    """Have a member make a rekey that removes others, and the relay take it."""
    proposals = [Remove(member.leaf_of(other)) for other in removed]
    return log.append(member, member.room.prepare_commit(proposals))


def confirm(log: Log, member: Member) -> Entry:
    """Have a member confirm what it can, and the relay take it."""
    waiting = member.room.confirmable
    assert waiting is not None
    return log.append(member, member.room.prepare_confirm(waiting))


def confirmation(log: Log, member: Member, rekey: Entry, **fields: object) -> Entry:
    """Return a confirmation that this member may make or not."""
    header = member.header(Kind.CONFIRM, **({"ref": rekey_id(rekey.payload)} | fields))
    return log.append(
        member, Forged(Kind.CONFIRM, sign_payload(member.room.id, header, member.account.device))
    )


def forge(
    member: Member, header: Header, make: Callable[[Group, bytes], bytes], *, bound: Header | None = None
) -> Forged:
    """Return a payload made without rules: `make` gets the group and what authenticates `bound`."""
    covered = header_digest(pack_header(bound or header))
    return Forged(header.kind, pack_header(header) + make(member.villain(), covered))


def submit_due(log: Log, member: Member) -> list[Submit]:
    """Do what a session does when a room's state asks for something; return what is to be submitted."""
    room, submits = member.room, []
    if not room.synced or room.draining:
        return []
    if room.can_resubmit_commit:
        submits.append(room.submit_commit())
    elif room.commit_is_stale:
        room.drop_commit()
    in_flight_payloads = {submitted.kind for submitted in room.in_flight.values()}
    if room.is_open and room.confirmable is not None:
        if Kind.CONFIRM not in in_flight_payloads:
            submits.append(room.prepare_confirm(room.confirmable))
    elif (room.commit_due or room.retry_due) and not in_flight_payloads & {Kind.COMMIT, Kind.REKEY}:
        try:
            submits.append(room.prepare_commit(()))
        except MLSError:  # what a waiting change was to do is not allowed any more
            if not room.intent:
                raise
            room.drop_intent()
    if room.leave_due:
        submits.append(room.prepare_leave())
    while unsendable := room.unsendable():
        for item, _ in unsendable:
            room.drop_unsent(item)
    submits += room.prepare_messages()
    return submits


def settle(log: Log, *members: Member) -> list[list[Event]]:
    """Let members act and read in turn until none has anything left to do; return what each was told."""
    told: list[list[Event]] = [[] for _ in members]
    for _ in range(50):
        busy = False
        for member, events_of in zip(members, told, strict=True):
            if not member.store.part(member.room.id, "epoch"):
                continue
            events_of += deliver(log, member)[0].events
            for submit in submit_due(log, member):
                busy = True
                refusal = log.take(member, submit)
                if refusal is not None:
                    events_of += feed(member, [*log.since(member), refusal]).events
        if not busy and all(
            not member.store.part(member.room.id, "epoch") or member.room.record.cursor == len(log.entries)
            for member in members
        ):
            return told
    raise AssertionError("the members never come to rest")


def kinds(outcome: BatchResult) -> list[str]:
    return [type(event).__name__ for event in outcome.events]


def lies(*told: Event | BatchResult) -> list[Inconsistency]:
    """Return what was noticed of a relay's lies."""
    found = [event for one in told for event in (one.events if isinstance(one, BatchResult) else [one])]
    return [event.inconsistency for event in found if isinstance(event, events.Diverged)]


def feed(member: Member, batch: Sequence[LogMessage]) -> BatchResult:
    return member.reader.read(batch)


def agree(*members: Member) -> None:
    """Check that all are in the same epoch with the same keys."""
    assert len({member.room.head for member in members}) == 1
    assert len({member.room.group.epoch_authenticator for member in members}) == 1


def stored_group(member: Member) -> GroupState:
    """Return a group's state as it is on disk."""
    epoch, ratchets = (member.store.part(member.room.id, part) for part in ("epoch", "ratchets"))
    assert epoch is not None
    assert ratchets is not None
    return GroupState(epoch, ratchets)


def forge_wrong_tag(member: Member, header: Header, *proposals: Proposal) -> Forged:
    """Return a rekey that is good in everything but its confirmation tag."""

    def make(group: Group, covered: bytes) -> bytes:
        own = MemberSender(group.own_leaf)
        applied = group._apply(own, [(own, proposal) for proposal in proposals])
        return make_commit(
            group._epoch,
            own,
            applied,
            [ProposalByValue(proposal) for proposal in proposals],
            template=group.member(group.own_leaf).leaf,
            init_secret=Secret(bytes(group.suite.hash_size)),
            found=group._secret_tree.find_next(group.own_leaf, ContentType.COMMIT),
            authenticated_data=covered,
            find_psk=lambda _: None,
            limits=group._limits,
            random=os.urandom,
        ).message

    return forge(member, header, make)


def spoil_path(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Submit], *nodes: int) -> Submit:
    """Return what `make` prepares, with garbage in these nodes of its path: in all unless given."""
    encrypt = encrypt_path

    def garble(*arguments: Any) -> UpdatePath:
        path = encrypt(*arguments)
        changed = list(path.nodes)
        for node in nodes or range(len(changed)):
            garbage = tuple(HPKECiphertext(b"", b"") for _ in changed[node].encrypted_path_secret)
            changed[node] = replace(changed[node], encrypted_path_secret=garbage)
        return UpdatePath(path.leaf_node, tuple(changed))

    with monkeypatch.context() as patch:
        patch.setattr(committing, "encrypt_path", garble)
        return make()
