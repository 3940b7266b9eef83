"""A room as the relay sees it: whom it routes to, which seq comes next. Knows no clients, disk or clock.

RowChanges are staged: `stage_*` applies one at once and remembers how it was; `settle` keeps all of them once
they are on disk, `roll_back` undoes all of them when they are not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Final, NamedTuple

from clave_server.errors import Refusal
from clave_server.rooms.header_checks import check_header
from clave_server.rooms.rekeys import Rekey, Rekeys, find_confirmed, forget_head, reference, remember
from clave_wire.header import Header
from clave_wire.limits import MAX_MEMBERS, MAX_PAYLOAD_BYTES, MAX_RESTORES, MAX_WELCOME_BYTES
from clave_wire.messages import Code, Kind, Submit

__all__ = [
    "MAX_BACK",
    "MAX_STAYS",
    "NO_LONGER_MEMBER",
    "RECENT",
    "AlreadyAccepted",
    "Membership",
    "Room",
    "pack_recent",
    "pack_restores",
    "unpack_recent",
    "unpack_restores",
]

RECENT: Final = 32
"""How many of a device's latest submissions are remembered with their seq."""

MAX_BACK: Final = 10_000
"""Entries before the commit that adds a device from which on it may be sent them."""

MAX_STAYS: Final = 8
"""Stays of one device in a room that are kept, the last ones."""

NO_LONGER_MEMBER: Final = "this device is no longer a member of the room"

Recent = list[tuple[int, int]]
"""(submission, seq), both increasing."""


class Membership(NamedTuple):
    """A device is sent the entries above `joined`, up to and including `left` if it did leave."""

    joined: int
    left: int | None


class AlreadyAccepted(Exception):
    """The submission was accepted before, as entry `seq`."""

    def __init__(self, seq: int) -> None:
        super().__init__(f"accepted before as entry {seq}")
        self.seq = seq


class _Before(NamedTuple):
    """What `roll_back` puts back, beside stays and submissions."""

    handshake: int
    rekeys: Rekeys
    objections: Mapping[bytes, str]


class Room:
    """One room's routing state. Devices are 32-byte public keys, accounts are known by their names.

    `seq` is the last entry staged, `durable` the last on disk, `kept_from` the first that is still kept, and
    `saved` the last that the room's own rows on disk take into account: what came since is read from the
    entries themselves when the room is loaded. `handshake` is the last entry that is no message. Entries up
    to `legacy` are of protocol 3; `restores` is what `Resumed` tells of restores.
    `objections` has the devices that a member of one account wants no longer routed to, and which account.
    """

    __slots__ = (
        "_before",
        "_speaking",
        "_stays_before",
        "_unsaved",
        "durable",
        "handshake",
        "kept_from",
        "legacy",
        "maker",
        "members",
        "objections",
        "recent",
        "rekeys",
        "restores",
        "room",
        "saved",
        "seq",
        "stays",
    )

    def __init__(self, room: bytes) -> None:
        self.room = room
        self.seq = 0
        self.durable = 0
        self.saved = 0
        self.kept_from = 1
        self.handshake = 0
        self.legacy = 0
        self.restores: list[tuple[bytes, int]] = []
        self.maker = b""
        self.members: dict[bytes, str] = {}
        self.stays: dict[bytes, tuple[Membership, ...]] = {}
        self.recent: dict[bytes, Recent] = {}
        self.rekeys: Rekeys = {}
        self.objections: Mapping[bytes, str] = {}
        self._before: _Before | None = None
        self._stays_before: dict[bytes, tuple[tuple[Membership, ...], str | None]] = {}
        self._speaking: set[bytes] = set()
        self._unsaved: set[bytes] = set()

    # --- staging -------------------------------------------------------------------------------------------

    def stage_creation(self, device: bytes, name: str, maker: bytes = b"") -> None:
        """Make `device`, of the account `maker`, the only member, at seq 0.

        Raises `Refusal` if there are others.
        """
        if self.stays:
            if self.seq == 0 and list(self.members) == [device]:
                return  # asked again, the answer having been lost
            raise Refusal(Code.ROOM_EXISTS, "there is a room with this id already")
        self._begin()
        self.maker = maker
        self._join(device, name, 0)

    def judge(self, device: bytes, submit: Submit) -> None:
        """Raise `Refusal` for what may not be the next entry, and `AlreadyAccepted` for what is one already."""
        recent = self.recent.get(device)
        following = recent[-1][0] + 1 if recent else 1
        if recent and submit.submission < following:
            _refuse_repeated(recent, submit.submission)
        if device not in self.members:
            raise Refusal(Code.NOT_MEMBER, "this device is not a member of the room")
        if submit.submission != following:
            raise Refusal(Code.OUT_OF_ORDER, "an earlier submission was refused")
        if submit.read != self.handshake:
            raise Refusal(Code.STALE, "another change came first")
        if len(submit.payload) > MAX_PAYLOAD_BYTES:
            raise Refusal(Code.TOO_LARGE, f"an entry carries at most {MAX_PAYLOAD_BYTES} bytes")

    def judge_handshake(
        self, device: bytes, submit: Submit, header: Header, names: Mapping[bytes, str]
    ) -> None:
        """Raise `Refusal` unless what `judge` let pass may change the room as its header says.

        `names` has the known ones of the devices that a commit adds.
        """
        if len(submit.welcome) > MAX_WELCOME_BYTES:
            raise Refusal(Code.TOO_LARGE, f"a welcome has at most {MAX_WELCOME_BYTES} bytes")
        check_header(device, submit, header)
        if submit.kind is Kind.COMMIT:
            self._check_added(header.add, names)
        elif submit.kind is Kind.GROUP_INFO and header.add[0] not in self.members:
            raise Refusal(Code.BAD_REQUEST, "a group info is for a member")

    def stage_message(self, device: bytes, submit: Submit) -> int:
        """Judge a message and return the seq it gets. Raises `Refusal` and `AlreadyAccepted`."""
        self.judge(device, submit)
        if submit.welcome:
            raise Refusal(Code.BAD_REQUEST, "a message carries no welcome")
        return self._append(device, submit.submission)

    def stage_handshake(
        self, device: bytes, submit: Submit, header: Header, names: Mapping[bytes, str]
    ) -> tuple[int, Sequence[bytes]]:
        """Append what was judged; return its seq and the devices that are routed to no more after it."""
        self._begin()
        account = self.members[device]
        seq = self.handshake = self._append(device, submit.submission)
        match submit.kind:
            case Kind.COMMIT:
                self.rekeys = forget_head(self.rekeys, header.head)
                self._drop_objections(set(header.add))
                for added in header.add:
                    self._join(added, names[added], min(seq - 1, max(header.seen.seq, seq - MAX_BACK)))
            case Kind.REKEY:
                rekey = Rekey(seq, account, reference(submit.payload), header.head, tuple(header.remove))
                self.rekeys = remember(self.rekeys, rekey)
            case Kind.CONFIRM:
                confirmed = find_confirmed(self.rekeys, header, device, account)
                if confirmed is not None:
                    self.rekeys = forget_head(self.rekeys, header.head)
                    return seq, self._leave(confirmed.remove)
            case Kind.PROPOSAL:
                return seq, self._leave(header.remove)
        return seq, ()

    def judge_mend(self, device: bytes, add: Sequence[bytes], names: Mapping[bytes, str]) -> None:
        """Raise `Refusal` unless `device` may have `add`, whose known `names` these are, routed to."""
        if device not in self.members:
            raise Refusal(Code.NOT_MEMBER, "only a member can mend a room's routing")
        self._check_added(add, names)

    def stage_mend(
        self, device: bytes, add: Sequence[bytes], remove: Sequence[bytes], names: Mapping[bytes, str]
    ) -> list[bytes]:
        """Route to `add` again or from now on; stop routing to those of `remove` that enough object to.

        It was judged. Returns who is taken back.
        """
        self._begin()
        self._object(device, remove)
        self._drop_objections(set(add))
        back = []
        for added in add:
            if self.stays.get(added) and added not in self.members:
                self._take_back(added, names[added])
                back.append(added)
            else:
                self._join(added, names[added], max(0, self.seq - MAX_BACK))
        return back

    @property
    def staged_stays(self) -> Iterable[bytes]:
        """The devices whose stays changed since the last `settle`."""
        return self._stays_before

    @property
    def is_changed(self) -> bool:
        """Whether more than messages was staged since the last `settle`."""
        return self._before is not None

    @property
    def are_rekeys_changed(self) -> bool:
        """Whether other rekeys are remembered than at the last `settle`."""
        return self._before is not None and self._before.rekeys != self.rekeys

    @property
    def unsaved(self) -> set[bytes]:
        """The devices whose submissions count for more than the room's rows on disk say."""
        return self._unsaved | self._speaking

    def settle(self, *, saved: bool) -> None:
        """Keep what was staged: it is on disk; `saved` tells whether the room's own rows are too."""
        for device in self._speaking:
            recent = self.recent[device]
            if len(recent) > RECENT:
                del recent[:-RECENT]
        self.durable = self.seq
        if saved:
            self.saved = self.seq
            self._unsaved.clear()
        else:
            self._unsaved |= self._speaking
        self._forget()

    def roll_back(self) -> None:
        """Undo what was staged: it is not on disk."""
        self.seq = self.durable
        if self._before is not None:
            self.handshake, self.rekeys, self.objections = self._before
        for device, (stays, name) in self._stays_before.items():
            if stays:
                self.stays[device] = stays
            else:
                self.stays.pop(device, None)
            if name is None:
                self.members.pop(device, None)
            else:
                self.members[device] = name
        for device in self._speaking:
            recent = [pair for pair in self.recent[device] if pair[1] <= self.durable]
            if recent:
                self.recent[device] = recent
            else:
                del self.recent[device]
        self._forget()

    def replay(self, device: bytes, submission: int) -> None:
        """Count a message that is on disk already and followed the last entry saved."""
        self.seq = self.durable = self.seq + 1
        recent = self.recent.setdefault(device, [])
        recent.append((submission, self.seq))
        self._unsaved.add(device)

    # --- reading -------------------------------------------------------------------------------------------

    def highest_submission(self, device: bytes) -> int:
        """Return the highest submission number the device had accepted, 0 if none."""
        recent = self.recent.get(device)
        return recent[-1][0] if recent else 0

    def stay_at(self, device: bytes, after: int) -> tuple[Membership, int]:
        """Return the stay that lets a device resume from `after`, and the entry it resumes from.

        That is `after`, or the last entry if the relay has not as many. Raises `Refusal`.
        """
        stays = self.stays.get(device)
        if not stays:
            raise Refusal(Code.NOT_MEMBER, "this device is not a member of the room")
        after = min(after, self.seq)
        for stay in reversed(stays):
            if stay.joined <= after and (stay.left is None or after < stay.left):
                self.check_kept(after)
                return stay, after
        if device in self.members:
            raise Refusal(Code.BAD_REQUEST, f"this device may read what follows entry {stays[-1].joined}")
        raise Refusal(Code.NOT_MEMBER, NO_LONGER_MEMBER)

    def check_kept(self, after: int) -> None:
        """Raise `Refusal` if the entry that follows `after` is kept no longer."""
        if after + 1 < self.kept_from:
            raise Refusal(
                Code.PRUNED, f"entries {after + 1} to {self.kept_from - 1} of this room are no longer kept"
            )

    # --- the rules -----------------------------------------------------------------------------------------

    def _append(self, device: bytes, submission: int) -> int:
        seq = self.seq = self.seq + 1
        recent = self.recent.get(device)
        if recent is None:
            recent = self.recent[device] = []
        recent.append((submission, seq))
        self._speaking.add(device)
        return seq

    def _check_added(self, add: Sequence[bytes], names: Mapping[bytes, str]) -> None:
        if any(device not in names for device in add):
            raise Refusal(Code.BAD_REQUEST, "a device to add is not known here")
        if len(self.members) + len(add) > MAX_MEMBERS:
            raise Refusal(Code.LIMIT, f"a room has at most {MAX_MEMBERS} devices")

    def _object(self, device: bytes, remove: Sequence[bytes]) -> None:
        """Stop routing to `device` itself, and to others a second account objects to; note the first ones."""
        account, accounts = self.members[device], set(self.members.values())
        objections, gone = dict(self.objections), []
        for other in remove:
            if other == device:
                gone.append(other)
            elif other in self.members and self.members[other] != account:
                first = objections.get(other, account)
                if first != account and first in accounts:
                    gone.append(other)
                else:
                    objections[other] = account
        self.objections = objections
        self._leave(gone)

    def _drop_objections(self, added: Set[bytes]) -> None:
        """Drop the objections to devices that are added: they were to something before."""
        if not self.objections.keys().isdisjoint(added):
            self.objections = {one: by for one, by in self.objections.items() if one not in added}

    def _join(self, device: bytes, name: str, joined: int) -> None:
        """Route to a device what follows entry `joined`; a former stay that reaches as far is continued."""
        if device in self.members:
            return
        self._remember(device)
        stays = list(self.stays.get(device, ()))
        while stays and (stays[-1].left or 0) > joined:
            joined = min(joined, stays.pop().joined)
        self.stays[device] = (*stays, Membership(joined, None))[-MAX_STAYS:]
        self.members[device] = name

    def _take_back(self, device: bytes, name: str) -> None:
        """Route to a device as if it had never gone, so that it misses nothing."""
        self._remember(device)
        *former, last = self.stays[device]
        self.stays[device] = (*former, Membership(last.joined, None))
        self.members[device] = name

    def _leave(self, devices: Iterable[bytes]) -> list[bytes]:
        """Route no more to those of `devices` that are members; return them."""
        gone = []
        for device in devices:
            if device in self.members:
                self._remember(device)
                *former, last = self.stays[device]
                self.stays[device] = (*former, Membership(last.joined, self.seq))
                del self.members[device]
                gone.append(device)
        if gone:
            self.objections = {one: by for one, by in self.objections.items() if one in self.members}
        return gone

    def _begin(self) -> None:
        if self._before is None:
            self._before = _Before(self.handshake, self.rekeys, self.objections)

    def _remember(self, device: bytes) -> None:
        if device not in self._stays_before:
            self._stays_before[device] = self.stays.get(device, ()), self.members.get(device)

    def _forget(self) -> None:
        self._before = None
        self._stays_before = {}
        self._speaking = set()


def _refuse_repeated(recent: Recent, submission: int) -> None:
    """Raise `AlreadyAccepted` for a submission that was accepted, `Refusal` for one too old to tell."""
    for former, seq in reversed(recent):
        if former == submission:
            raise AlreadyAccepted(seq)
    raise Refusal(Code.RENUMBER, "this submission number was used before, too long ago to tell for what")


def pack_recent(recent: Recent) -> bytes:
    """Encode the latest `RECENT` submissions as big-endian u64 pairs."""
    latest = recent[-RECENT:]
    return struct.pack(f">{2 * len(latest)}Q", *(number for pair in latest for number in pair))


def unpack_recent(packed: bytes) -> Recent:
    """Decode what `pack_recent` made."""
    return list(struct.iter_unpack(">QQ", packed))


def pack_restores(restores: list[tuple[bytes, int]]) -> bytes:
    """Encode the latest `MAX_RESTORES` (incarnation, last entry), each as 16 bytes and a big-endian u64."""
    return b"".join(incarnation + struct.pack(">Q", last) for incarnation, last in restores[-MAX_RESTORES:])


def unpack_restores(packed: bytes) -> list[tuple[bytes, int]]:
    """Decode what `pack_restores` made."""
    return list(struct.iter_unpack(">16sQ", packed))
