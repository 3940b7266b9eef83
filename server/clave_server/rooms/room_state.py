"""A room's routing state at the relay: its members and its next seq. Knows no clients, disk or clock.

Changes are staged: `stage_*` applies one in memory; `keep_staged` keeps all of them once they are on disk,
`roll_back` undoes all of them if they are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from clave_server.errors import Refusal
from clave_server.rooms.header_checks import check_header
from clave_server.rooms.joining import Joining, add_joining, drop_confirmed, drop_joining
from clave_server.rooms.links import Links, add_links, check_link, check_proof, replace_links, use_link
from clave_server.rooms.objections import Objections, drop_objections, object_to
from clave_server.rooms.recent import MAX_RECENT, Recent, refuse_repeated
from clave_server.rooms.rekeys import Rekey, Rekeys, add_rekey, drop_epoch, find_confirmed, reference
from clave_wire.header import Header
from clave_wire.limits import MAX_MEMBERS, MAX_PAYLOAD_BYTES, MAX_WELCOME_BYTES
from clave_wire.links import LinkProof
from clave_wire.messages import Code, Kind, OfferedLink, Submit

__all__ = [
    "MAX_BACKLOG",
    "MAX_MEMBERSHIPS",
    "NO_LONGER_MEMBER",
    "Membership",
    "RoomState",
]

MAX_BACKLOG: Final = 10_000
"""Entries from before its own commit that a device that is added may be sent."""

MAX_MEMBERSHIPS: Final = 8
"""Memberships of one device in a room that are kept: the latest."""

NO_LONGER_MEMBER: Final = "this device is no longer a member of the room"

_K = TypeVar("_K")
_V = TypeVar("_V")


class Membership(NamedTuple):
    """A device is sent the entries above `joined`, up to and including `left` unless that is None."""

    joined: int
    left: int | None


class _Snapshot(NamedTuple):
    """What `roll_back` restores, besides memberships and submissions."""

    handshake: int
    rekeys: Rekeys
    objections: Objections
    links: Links
    joining: Joining


class RoomState:
    """One room's routing state. Devices are 32-byte public keys; accounts are named.

    `seq` is the last entry staged, `durable` the last one on disk, `kept_from` the first one not pruned, and
    `saved` the last one that the room's own rows on disk include: later ones are replayed when the room is
    loaded. `handshake` is the last entry that is not an application message. Entries up to `legacy` are of
    protocol 3; `restores` is sent in `Resumed`. `objections` maps a device to the first account that wants
    it removed from routing; a second one's objection removes it. `links` are those by which devices join;
    `joining` has the members that one let in and no other account confirmed.
    """

    __slots__ = (
        "_former_memberships",
        "_snapshot",
        "_staged_senders",
        "_unsaved",
        "durable",
        "handshake",
        "id",
        "joining",
        "kept_from",
        "legacy",
        "links",
        "maker",
        "members",
        "memberships",
        "objections",
        "recent",
        "rekeys",
        "restores",
        "saved",
        "seq",
    )

    def __init__(self, id: bytes) -> None:  # noqa: A002  (named as the attribute)
        self.id = id
        self.seq = 0
        self.durable = 0
        self.saved = 0
        self.kept_from = 1
        self.handshake = 0
        self.legacy = 0
        self.restores: list[tuple[bytes, int]] = []
        self.maker = b""
        self.members: dict[bytes, str] = {}
        self.memberships: dict[bytes, tuple[Membership, ...]] = {}
        self.recent: dict[bytes, Recent] = {}
        self.rekeys: Rekeys = {}
        self.objections: Objections = {}
        self.links: Links = {}
        self.joining: Joining = {}
        self._snapshot: _Snapshot | None = None
        self._former_memberships: dict[bytes, tuple[tuple[Membership, ...], str | None]] = {}
        self._staged_senders: set[bytes] = set()
        self._unsaved: set[bytes] = set()

    # --- staging -------------------------------------------------------------------------------------------

    def stage_creation(self, device: bytes, name: str, maker: bytes = b"") -> None:
        """Make `device`, of the account with the key `maker`, the only member, at seq 0.

        Raises `Refusal` if the room has or had other members.
        """
        if self.memberships:
            if self.seq == 0 and list(self.members) == [device]:
                return  # the client repeats it, as it did not get the answer
            raise Refusal(Code.ROOM_EXISTS, "there is a room with this id already")
        self._take_snapshot()
        self.maker = maker
        self._join(device, name, 0)

    def check_submission(self, device: bytes, submit: Submit, *, joins: bool = False) -> None:
        """Raise `Refusal` unless `submit` may be the next entry, `AlreadyAccepted` if it is one already.

        One that `joins` may come from a device that is no member.
        """
        recent = self.recent.get(device)
        following = recent[-1][0] + 1 if recent else 1
        if recent and submit.submission < following:
            refuse_repeated(recent, submit.submission)
        if device not in self.members and not joins:
            raise Refusal(Code.NOT_MEMBER, "this device is not a member of the room")
        if submit.submission != following:
            raise Refusal(Code.OUT_OF_ORDER, "an earlier submission was refused")
        if submit.read != self.handshake:
            raise Refusal(Code.STALE, "another change came first")
        if len(submit.payload) > MAX_PAYLOAD_BYTES:
            raise Refusal(Code.TOO_LARGE, f"an entry carries at most {MAX_PAYLOAD_BYTES} bytes")

    def check_handshake(
        self, device: bytes, submit: Submit, header: Header, names: Mapping[bytes, str]
    ) -> None:
        """Raise `Refusal` unless a submission, which `check_submission` passed, may do what its header says.

        `names` has the accounts of the devices that a commit adds, as far as they are registered.
        """
        if len(submit.welcome) > MAX_WELCOME_BYTES:
            raise Refusal(Code.TOO_LARGE, f"a welcome has at most {MAX_WELCOME_BYTES} bytes")
        check_header(device, submit, header)
        if submit.kind is Kind.COMMIT:
            if header.add and device in self.joining:
                raise Refusal(Code.BAD_REQUEST, "a device that is joining cannot add others")
            self._check_added(header.add, names)
        elif submit.kind is Kind.GROUP_INFO and header.add[0] not in self.members:
            raise Refusal(Code.BAD_REQUEST, "a group info is for a member")

    def check_join(self, device: bytes, name: str, submit: Submit, header: Header, now: int) -> None:
        """Raise `Refusal` unless a link lets `device`, of the account `name`, in at `now` (s since 1970).

        `check_submission` passed the submission.
        """
        proof = LinkProof.decode(submit.welcome)
        check_link(self.links.get(proof.link), now, is_member=device in self.members)
        check_proof(proof, self.id, device, name, header)
        if header.seen.seq < max(self.seq - MAX_BACKLOG, self.kept_from - 1):
            text = "what follows the offer that this device joins by is no longer kept; another offer may do"
            raise Refusal(Code.PRUNED, text)

    def check_capacity(self, added: int) -> None:
        """Raise `Refusal` if `added` more devices would be too many."""
        if len(self.members) + added > MAX_MEMBERS:
            raise Refusal(Code.LIMIT, f"a room has at most {MAX_MEMBERS} devices")

    def stage_message(self, device: bytes, submit: Submit) -> int:
        """Check and append an application message; return its seq. Raises `Refusal` and `AlreadyAccepted`."""
        self.check_submission(device, submit)
        if submit.welcome:
            raise Refusal(Code.BAD_REQUEST, "a message carries no welcome")
        return self._append(device, submit.submission)

    def stage_handshake(
        self, device: bytes, submit: Submit, header: Header, names: Mapping[bytes, str]
    ) -> tuple[int, Sequence[bytes]]:
        """Append a checked handshake; return its seq and the devices that stop being members with it.

        A commit or a confirmation of a device that is joining changes nothing else.
        """
        self._take_snapshot()
        account, is_joining = self.members[device], device in self.joining
        seq = self.handshake = self._append(device, submit.submission)
        match submit.kind:
            case Kind.COMMIT if not is_joining:
                self.rekeys = drop_epoch(self.rekeys, header.head)
                self._vouch_for(header.add)
                for added in header.add:
                    self._join(added, names[added], _joined(seq, header))
            case Kind.REKEY:
                self._add_rekey(seq, account, submit, header)
                if is_joining:
                    self.joining = {**self.joining, device: seq}
            case Kind.CONFIRM if not is_joining:
                confirmed = find_confirmed(self.rekeys, header, device, account)
                if confirmed is not None:
                    self.rekeys = drop_epoch(self.rekeys, header.head)
                    self.joining = drop_confirmed(self.joining, confirmed.seq)
                    return seq, self._leave(confirmed.remove)
            case Kind.PROPOSAL:
                return seq, self._leave(header.remove)
        return seq, ()

    def stage_join(self, device: bytes, name: str, submit: Submit, header: Header) -> int:
        """Append the checked rekey by which a device joins by a link; return its seq.

        The device becomes a member, unless it is one: then the link is not used. It is joining until another
        account confirms the rekey, if there is one that can; an ordinary member stays one.
        """
        self._take_snapshot()
        seq = self.handshake = self._append(device, submit.submission)
        self._add_rekey(seq, name, submit, header)
        is_new = device not in self.members
        if is_new:
            self.links = use_link(self.links, LinkProof.decode(submit.welcome).link)
            self.objections = drop_objections(self.objections, {device})
            self._join(device, name, _joined(seq, header))
        if is_new or device in self.joining:
            self.joining = add_joining(self.joining, self.members, device, seq)
        return seq

    def stage_links(self, offered: Sequence[OfferedLink], *, settles: bool) -> None:
        """Take over the links of an offer: all, if it `settles` which are live, else those not known."""
        self._take_snapshot()
        self.links = (replace_links if settles else add_links)(self.links, offered)

    def check_mend(self, device: bytes, add: Sequence[bytes], names: Mapping[bytes, str]) -> None:
        """Raise `Refusal` unless `device` may have the relay route to `add`; `names` has their accounts."""
        if device not in self.members:
            raise Refusal(Code.NOT_MEMBER, "only a member can mend a room's routing")
        if device in self.joining:
            raise Refusal(Code.NOT_MEMBER, "a device that is joining cannot mend a room's routing")
        self._check_added(add, names)

    def stage_mend(
        self, device: bytes, add: Sequence[bytes], remove: Sequence[bytes], names: Mapping[bytes, str]
    ) -> list[bytes]:
        """Route to the devices in `add`; stop routing to those in `remove` that two accounts object to.

        One is enough against a device that is joining. Who is in `add` is an ordinary member. It was checked.
        Returns the devices in `add` that were members before.
        """
        self._take_snapshot()
        self.objections, removed = object_to(self.objections, self.members, self.joining, device, remove)
        self._leave(removed)
        self._vouch_for(add)
        readmitted = []
        for added in add:
            if self.memberships.get(added) and added not in self.members:
                self._readmit(added, names[added])
                readmitted.append(added)
            else:
                self._join(added, names[added], max(0, self.seq - MAX_BACKLOG))
        return readmitted

    @property
    def staged_memberships(self) -> Iterable[bytes]:
        """The devices whose memberships are staged."""
        return self._former_memberships

    @property
    def has_staged_changes(self) -> bool:
        """Whether anything but application messages is staged: a creation, handshakes, `Mend`s."""
        return self._snapshot is not None

    @property
    def has_staged_rekeys(self) -> bool:
        """Whether the staged changes include the waiting rekeys."""
        return self._snapshot is not None and self._snapshot.rekeys != self.rekeys

    @property
    def staged_links(self) -> tuple[Links, Iterable[bytes]]:
        """The links that are staged, new or changed, and those that are dropped."""
        return _changes(self.links if self._snapshot is None else self._snapshot.links, self.links)

    @property
    def staged_joining(self) -> tuple[Joining, Iterable[bytes]]:
        """The devices that are joining by a rekey that is staged, and those that stop joining."""
        return _changes(self.joining if self._snapshot is None else self._snapshot.joining, self.joining)

    @property
    def unsaved(self) -> set[bytes]:
        """The devices with submissions that the room's rows on disk do not include."""
        return self._unsaved | self._staged_senders

    def keep_staged(self, *, saved: bool) -> None:
        """Keep what was staged, as it is on disk; `saved` tells whether the room's own rows are too."""
        for device in self._staged_senders:
            recent = self.recent[device]
            if len(recent) > MAX_RECENT:
                del recent[:-MAX_RECENT]
        self.durable = self.seq
        if saved:
            self.saved = self.seq
            self._unsaved.clear()
        else:
            self._unsaved |= self._staged_senders
        self._clear_staged()

    def roll_back(self) -> None:
        """Undo what was staged, as it is not on disk."""
        self.seq = self.durable
        if self._snapshot is not None:
            self.handshake, self.rekeys, self.objections, self.links, self.joining = self._snapshot
        for device, (memberships, name) in self._former_memberships.items():
            if memberships:
                self.memberships[device] = memberships
            else:
                self.memberships.pop(device, None)
            if name is None:
                self.members.pop(device, None)
            else:
                self.members[device] = name
        for device in self._staged_senders:
            recent = [pair for pair in self.recent[device] if pair[1] <= self.durable]
            if recent:
                self.recent[device] = recent
            else:
                del self.recent[device]
        self._clear_staged()

    def replay(self, device: bytes, submission: int) -> None:
        """Count a message on disk that is newer than the room's rows."""
        self.seq = self.durable = self.seq + 1
        recent = self.recent.setdefault(device, [])
        recent.append((submission, self.seq))
        self._unsaved.add(device)

    # --- reading -------------------------------------------------------------------------------------------

    @property
    def durable_handshake(self) -> int:
        """The last entry on disk that is not an application message."""
        return self.handshake if self._snapshot is None else self._snapshot.handshake

    def highest_submission(self, device: bytes) -> int:
        """Return the highest submission number of the device that was accepted, 0 for none."""
        recent = self.recent.get(device)
        return recent[-1][0] if recent else 0

    def membership_at(self, device: bytes, after: int) -> tuple[Membership, int]:
        """Return the membership that lets a device resume from `after`, and the entry it resumes from.

        That is `after`, or the last entry if that is lower. Raises `Refusal`.
        """
        memberships = self.memberships.get(device)
        if not memberships:
            raise Refusal(Code.NOT_MEMBER, "this device is not a member of the room")
        after = min(after, self.seq)
        for membership in reversed(memberships):
            if membership.joined <= after and (membership.left is None or after < membership.left):
                self.check_kept(after)
                return membership, after
        if device in self.members:
            raise Refusal(
                Code.BAD_REQUEST, f"this device may read what follows entry {memberships[-1].joined}"
            )
        raise Refusal(Code.NOT_MEMBER, NO_LONGER_MEMBER)

    def check_kept(self, after: int) -> None:
        """Raise `Refusal` if the entry that follows `after` has been pruned."""
        if after + 1 < self.kept_from:
            raise Refusal(
                Code.PRUNED, f"entries {after + 1} to {self.kept_from - 1} of this room are no longer kept"
            )

    # --- rules ---------------------------------------------------------------------------------------------

    def _append(self, device: bytes, submission: int) -> int:
        seq = self.seq = self.seq + 1
        recent = self.recent.get(device)
        if recent is None:
            recent = self.recent[device] = []
        recent.append((submission, seq))
        self._staged_senders.add(device)
        return seq

    def _check_added(self, add: Sequence[bytes], names: Mapping[bytes, str]) -> None:
        if any(device not in names for device in add):
            raise Refusal(Code.BAD_REQUEST, "a device to add is not known here")
        self.check_capacity(len(add))

    def _add_rekey(self, seq: int, account: str, submit: Submit, header: Header) -> None:
        rekey = Rekey(seq, account, reference(submit.payload), header.head, tuple(header.remove))
        self.rekeys = add_rekey(self.rekeys, rekey)

    def _vouch_for(self, added: Iterable[bytes]) -> None:
        """Drop objections to devices that an ordinary member adds; they are joining no more."""
        devices = set(added)
        self.objections = drop_objections(self.objections, devices)
        self.joining = drop_joining(self.joining, devices)

    def _join(self, device: bytes, name: str, joined: int) -> None:
        """Make a device a member that is sent entries above `joined`; continue an overlapping membership."""
        if device in self.members:
            return
        self._keep_membership(device)
        memberships = list(self.memberships.get(device, ()))
        while memberships and (memberships[-1].left or 0) > joined:
            joined = min(joined, memberships.pop().joined)
        self.memberships[device] = (*memberships, Membership(joined, None))[-MAX_MEMBERSHIPS:]
        self.members[device] = name

    def _readmit(self, device: bytes, name: str) -> None:
        """Make a device a member as if it had never left, so that it misses nothing."""
        self._keep_membership(device)
        *former, last = self.memberships[device]
        self.memberships[device] = (*former, Membership(last.joined, None))
        self.members[device] = name

    def _leave(self, devices: Iterable[bytes]) -> list[bytes]:
        """End the membership of those of `devices` that are members; return them."""
        left = []
        for device in devices:
            if device in self.members:
                self._keep_membership(device)
                *former, last = self.memberships[device]
                self.memberships[device] = (*former, Membership(last.joined, self.seq))
                del self.members[device]
                left.append(device)
        if left:
            self.objections = {one: by for one, by in self.objections.items() if one in self.members}
            self.joining = drop_joining(self.joining, set(left))
        return left

    def _take_snapshot(self) -> None:
        if self._snapshot is None:
            self._snapshot = _Snapshot(self.handshake, self.rekeys, self.objections, self.links, self.joining)

    def _keep_membership(self, device: bytes) -> None:
        if device not in self._former_memberships:
            self._former_memberships[device] = self.memberships.get(device, ()), self.members.get(device)

    def _clear_staged(self) -> None:
        self._snapshot = None
        self._former_memberships = {}
        self._staged_senders = set()


def _joined(seq: int, header: Header) -> int:
    """Return the entry from which a device may read that is added with entry `seq`."""
    return min(seq - 1, max(header.seen.seq, seq - MAX_BACKLOG))


def _changes(former: Mapping[_K, _V], present: Mapping[_K, _V]) -> tuple[Mapping[_K, _V], Iterable[_K]]:
    """Return what is new or changed in `present`, and the keys that it no longer has."""
    if former is present:
        return {}, ()
    changed = {key: value for key, value in present.items() if key not in former or former[key] != value}
    return changed, former.keys() - present.keys()
