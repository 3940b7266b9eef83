"""A room as the relay sees it: whom it routes to, which seq and epoch come next. Knows no clients, no disk.

Changes are staged: `stage_*` applies one at once and remembers how it was; `settle` keeps all of them once
they are on disk, `roll_back` undoes all of them when they are not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from clave_server.errors import Refusal
from clave_wire.limits import MAX_MEMBERS, MAX_PAYLOAD_BYTES, MAX_WELCOME_BYTES
from clave_wire.messages import Code, Kind, Report, Submit

__all__ = ["RECENT", "Repeated", "Room", "Stay", "pack_recent", "unpack_recent"]

RECENT: Final = 32
"""How many of a device's latest submissions are remembered with their seq."""

Recent = list[tuple[int, int]]
"""(submission, seq), both increasing."""


class Stay(NamedTuple):
    """A device is sent the entries above `joined`, up to and including `left` if it did leave."""

    joined: int
    left: int | None


class Repeated(Exception):
    """The submission was accepted before, as entry `seq`."""

    def __init__(self, seq: int) -> None:
        super().__init__(f"accepted before as entry {seq}")
        self.seq = seq


class Room:
    """One room's routing state. Devices are 32-byte public keys.

    `seq` is the last entry staged, `durable` the last on disk, `kept_from` the first that is still kept, and
    `saved` the last that the room's own rows on disk take into account: what came since is read from the
    entries themselves when the room is loaded. `committer` made the latest commit and `expelled` are those it
    took out, as long as nobody else shows that he believes it.
    """

    __slots__ = (
        "_before",
        "_speaking",
        "_stays_before",
        "_unsaved",
        "commit_seq",
        "committer",
        "contested",
        "durable",
        "epoch",
        "expelled",
        "kept_from",
        "maker",
        "members",
        "recent",
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
        self.maker = b""
        self.epoch = 0
        self.commit_seq = 0
        self.contested = False
        self.members: dict[bytes, str] = {}
        self.stays: dict[bytes, tuple[Stay, ...]] = {}
        self.recent: dict[bytes, Recent] = {}
        self.committer = b""
        self.expelled: tuple[bytes, ...] = ()
        self._before: tuple[int, int, bool, bytes, tuple[bytes, ...]] | None = None
        self._stays_before: dict[bytes, tuple[tuple[Stay, ...], str | None]] = {}
        self._speaking: set[bytes] = set()
        self._unsaved: set[bytes] = set()

    # --- staging -------------------------------------------------------------------------------------------

    def stage_creation(self, device: bytes, name: str, maker: bytes = b"") -> None:
        """Make `device`, of the account `maker`, the only member, at epoch 0 and seq 0.

        Raises `Refusal` if there are others.
        """
        if self.stays:
            if self.seq == 0 and list(self.members) == [device]:
                return  # asked again, the answer having been lost
            raise Refusal(Code.ROOM_EXISTS, "there is a room with this id already")
        self._begin()
        self.maker = maker
        self._join(device, name, 0)

    def stage_submission(self, device: bytes, submit: Submit, names: dict[bytes, str]) -> int:
        """Judge a submission and give it a seq; `names` has the known ones of the devices it adds.

        Raises `Refusal` if it may not enter the log and `Repeated` if it already did.
        """
        recent = self.recent.get(device)
        if recent and submit.submission <= recent[-1][0]:
            self.check_new(device, submit.submission)
        self._judge(device, submit, names)
        seq = self.seq = self.seq + 1
        if recent is None:
            recent = self.recent[device] = []
        recent.append((submit.submission, seq))
        self._speaking.add(device)
        if submit.kind is not Kind.APPLICATION:
            self._change_members(device, submit, names)
        elif self.expelled and device != self.committer and submit.epoch == self.epoch:
            self._begin()
            self.expelled = ()  # the commit is believed
        return seq

    def check_new(self, device: bytes, submission: int) -> None:
        """Raise `Repeated` for a submission that was accepted, `Refusal` for one too old to tell."""
        recent = self.recent.get(device)
        if not recent or submission > recent[-1][0]:
            return
        for former, seq in reversed(recent):
            if former == submission:
                raise Repeated(seq)
        raise Refusal(Code.RENUMBER, "this submission number was used before, too long ago to tell for what")

    def _change_members(self, device: bytes, submit: Submit, names: dict[bytes, str]) -> None:
        self._begin()
        if submit.kind is Kind.COMMIT:
            self.epoch = submit.epoch + 1
            self.commit_seq = self.seq
            self.contested = False
            self.committer = device
            self.expelled = tuple(gone for gone in submit.remove if gone in self.members and gone != device)
        self._leave(submit.remove)
        for added in submit.add:
            self._join(added, names[added], self.seq)

    def stage_report(self, device: bytes, report: Report, names: dict[bytes, str]) -> list[bytes]:
        """Mark the latest commit contested; return whom it took out and who is taken back. Raises `Refusal`.

        Whoever made a commit that no one believes could take everybody out but himself, so those it took out
        may contest it too, until somebody else than its sender goes on in the epoch it began. They come back
        once: if the group does take them out, a member mends the routing. `names` has theirs.
        """
        if device not in self.members and device not in self.expelled:
            raise Refusal(Code.NOT_MEMBER, "only a member can report a commit")
        if report.seq != self.commit_seq or report.epoch != self.epoch - 1:
            raise Refusal(Code.STALE_EPOCH, "that is not the room's latest commit")
        self._begin()
        self.contested = True
        back = [former for former in self.expelled if former in names and former not in self.members]
        for former in back:
            self._take_back(former, names[former])
        self.expelled = ()
        return back

    def stage_mend(
        self, device: bytes, add: Sequence[bytes], remove: Sequence[bytes], names: dict[bytes, str]
    ) -> list[bytes]:
        """Route to `add` again or from now on, and to `remove` no longer; return who is taken back.

        Raises `Refusal`.
        """
        if device not in self.members:
            raise Refusal(Code.NOT_MEMBER, "only a member can mend a room's routing")
        self._check_added(add, names)
        self._begin()
        self._leave(remove)
        self.expelled = tuple(former for former in self.expelled if former not in remove)
        back = []
        for added in add:
            if self.stays.get(added) and added not in self.members:
                self._take_back(added, names[added])
                back.append(added)
            else:
                self._join(added, names[added], self.seq)
        return back

    @property
    def staged_stays(self) -> Iterable[bytes]:
        """The devices whose stays changed since the last `settle`."""
        return self._stays_before

    @property
    def is_changed(self) -> bool:
        """Whether more than entries was staged since the last `settle`."""
        return self._before is not None

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
            self.epoch, self.commit_seq, self.contested, self.committer, self.expelled = self._before
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
        """Count an entry that is on disk already and followed the last one saved."""
        self.seq = self.durable = self.seq + 1
        recent = self.recent.setdefault(device, [])
        recent.append((submission, self.seq))
        self._unsaved.add(device)

    # --- reading -------------------------------------------------------------------------------------------

    def highest_submission(self, device: bytes) -> int:
        """Return the highest submission number the device had accepted, 0 if none."""
        recent = self.recent.get(device)
        return recent[-1][0] if recent else 0

    def stay_at(self, device: bytes, after: int) -> Stay:
        """Return the stay that lets a device resume from `after`. Raises `Refusal`."""
        stays = self.stays.get(device)
        if not stays:
            raise Refusal(Code.NOT_MEMBER, "this device is not a member of the room")
        if after > self.seq:
            raise Refusal(Code.BAD_REQUEST, f"the room ends at entry {self.seq}, before {after}")
        for stay in reversed(stays):
            if stay.joined <= after and (stay.left is None or after < stay.left):
                self.check_kept(after)
                return stay
        if device in self.members:
            raise Refusal(Code.BAD_REQUEST, f"this device joined the room after entry {stays[-1].joined}")
        raise Refusal(Code.NOT_MEMBER, "this device is no longer a member of the room")

    def check_kept(self, after: int) -> None:
        """Raise `Refusal` if the entry that follows `after` is kept no longer."""
        if after + 1 < self.kept_from:
            raise Refusal(
                Code.PRUNED, f"entries {after + 1} to {self.kept_from - 1} of this room are no longer kept"
            )

    # --- the rules -----------------------------------------------------------------------------------------

    def _judge(self, device: bytes, submit: Submit, names: dict[bytes, str]) -> None:
        if device not in self.members:
            raise Refusal(Code.NOT_MEMBER, "this device is not a member of the room")
        if submit.epoch != self.epoch and not (self.contested and submit.epoch == self.epoch - 1):
            raise Refusal(Code.STALE_EPOCH, f"the room is at epoch {self.epoch}")
        if len(submit.payload) > MAX_PAYLOAD_BYTES:
            raise Refusal(Code.TOO_LARGE, f"an entry carries at most {MAX_PAYLOAD_BYTES} bytes")
        if submit.add or submit.remove or submit.welcome:
            self._judge_changes(device, submit, names)

    def _judge_changes(self, device: bytes, submit: Submit, names: dict[bytes, str]) -> None:
        if len(submit.welcome) > MAX_WELCOME_BYTES:
            raise Refusal(Code.TOO_LARGE, f"a welcome has at most {MAX_WELCOME_BYTES} bytes")
        if submit.kind is not Kind.COMMIT:
            leaving = submit.kind is Kind.PROPOSAL and submit.remove == [device]
            if submit.add or submit.welcome or not leaving:
                raise Refusal(Code.BAD_REQUEST, "only a commit changes who is in a room")
        self._check_added(submit.add, names)

    def _check_added(self, add: Sequence[bytes], names: dict[bytes, str]) -> None:
        if any(device not in names for device in add):
            raise Refusal(Code.BAD_REQUEST, "a device to add is not known here")
        if len(self.members) + len(add) > MAX_MEMBERS:
            raise Refusal(Code.LIMIT, f"a room has at most {MAX_MEMBERS} devices")

    def _join(self, device: bytes, name: str, seq: int) -> None:
        if device not in self.members:
            self._remember(device)
            self.stays[device] = (*self.stays.get(device, ()), Stay(seq, None))
            self.members[device] = name

    def _take_back(self, device: bytes, name: str) -> None:
        """Route to a device as if it had never gone, so that it misses nothing."""
        self._remember(device)
        *former, last = self.stays[device]
        self.stays[device] = (*former, Stay(last.joined, None))
        self.members[device] = name

    def _leave(self, devices: Iterable[bytes]) -> None:
        for device in devices:
            if device in self.members:
                self._remember(device)
                *former, last = self.stays[device]
                self.stays[device] = (*former, Stay(last.joined, self.seq))
                del self.members[device]

    def _begin(self) -> None:
        if self._before is None:
            self._before = self.epoch, self.commit_seq, self.contested, self.committer, self.expelled

    def _remember(self, device: bytes) -> None:
        if device not in self._stays_before:
            self._stays_before[device] = self.stays.get(device, ()), self.members.get(device)

    def _forget(self) -> None:
        self._before = None
        self._stays_before = {}
        self._speaking = set()


def pack_recent(recent: Recent) -> bytes:
    """Encode the latest `RECENT` submissions as big-endian u64 pairs."""
    latest = recent[-RECENT:]
    return struct.pack(f">{2 * len(latest)}Q", *(number for pair in latest for number in pair))


def unpack_recent(packed: bytes) -> Recent:
    """Decode what `pack_recent` made."""
    return list(struct.iter_unpack(">QQ", packed))
