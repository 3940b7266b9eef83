"""A room's log and routing at the relay in memory, by the rules of `docs/protocol.md`.

Knows no connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from clave_client.formats.payload import rekey_id
from clave_client.testing.memory_links import MemoryLinks, is_join
from clave_client.testing.refusals import Refusal
from clave_crypto.errors import CryptoError
from clave_crypto.identity import verify_signature
from clave_wire.errors import RemoteError
from clave_wire.header import Header, digest_names, split_payload
from clave_wire.limits import MAX_PAYLOAD_BYTES, MAX_WELCOME_BYTES
from clave_wire.links import LinkProof, join_transcript
from clave_wire.messages import Code, Entry, FindLink, Kind, LinkOffer, Offer, Submit

__all__ = ["AlreadyAccepted", "Appended", "MemoryRoom"]

_ADDING = {Kind.COMMIT, Kind.GROUP_INFO}
_REMOVING = {Kind.PROPOSAL, Kind.REKEY}


class AlreadyAccepted(Exception):
    """The submission was accepted before, as entry `seq`."""

    def __init__(self, seq: int) -> None:
        super().__init__(f"accepted before as entry {seq}")
        self.seq = seq


class Appended(NamedTuple):
    """A new entry, the devices whose membership ended with it, and those that get its welcome.

    `settles` says that an epoch begins with it, as far as a relay can tell.
    """

    entry: Entry
    left: Sequence[bytes] = ()
    invited: Sequence[bytes] = ()
    settles: bool = False


class _Membership(NamedTuple):
    """A device is sent the entries above `joined`, up to and including `left` unless that is None."""

    joined: int
    left: int | None = None


class _Rekey(NamedTuple):
    """A rekey that waits for the confirmation of another account than `author`."""

    seq: int
    author: str
    ref: bytes
    head: bytes
    remove: tuple[bytes, ...]


class MemoryRoom:
    """One room: its log, and whom it is sent to. `members` are device public keys with account names.

    Those that are `joining` were let in by a link and not confirmed by another account yet; each has the
    seq of its last rekey. `times` are when its `entries` were accepted, in ms since 1970.
    """

    def __init__(self, id: bytes, device: bytes, name: str) -> None:  # noqa: A002  (named as the attribute)
        self.id = id
        self.entries: list[Entry] = []
        self.times: list[int] = []
        self.handshake = 0
        self.members: dict[bytes, str] = {}
        self.joining: dict[bytes, int] = {}
        self._memberships: dict[bytes, list[_Membership]] = {}
        self._accepted: dict[bytes, dict[int, int]] = {}
        self._rekeys: dict[str, _Rekey] = {}
        self._objections: dict[bytes, str] = {}
        self.links = MemoryLinks()
        self._join(device, name, 0)

    # --- submitting ---

    def submit(self, device: bytes, submit: Submit, names: Mapping[bytes, str], at: int) -> Appended:
        """Append a submission at `at` (ms since 1970); `names` are the accounts of all registered devices.

        Raises `Refusal`, or `AlreadyAccepted` for one that is in the log.
        """
        joins = is_join(submit)
        self._check_submission(device, submit, joins=joins)
        if submit.kind is Kind.APPLICATION:
            if submit.welcome:
                raise Refusal(Code.BAD_REQUEST, "a message carries no welcome")
            return Appended(self._append(device, submit, at))
        header = self._check_header(device, submit, names, at // 1000)
        account = self.members.get(device) or names[device]
        entry = self._append(device, submit, at)
        self.handshake = entry.seq
        left: Sequence[bytes] = ()
        settles = False
        is_joining = device in self.joining
        match submit.kind:
            case Kind.COMMIT if not is_joining:
                settles = True
                self._drop_rekeys(header.head)
                for added in header.add:
                    self._vouch_for(added)
                    self._join(added, names[added], min(entry.seq - 1, header.seen.seq))
            case Kind.REKEY:
                rekey = _Rekey(
                    entry.seq, account, rekey_id(submit.payload), header.head, tuple(header.remove)
                )
                self._rekeys.pop(account, None)
                self._rekeys[account] = rekey
                if device not in self.members:
                    self.links.use(LinkProof.decode(submit.welcome).link)
                    self._objections.pop(device, None)
                    self._join(device, account, min(entry.seq - 1, header.seen.seq))
                    self.joining[device] = entry.seq
                elif is_joining:
                    self.joining[device] = entry.seq
                if joins and self._ordinary_accounts() <= {account}:
                    self.joining.pop(device, None)  # nobody could confirm it
                settles = self._ordinary_accounts(header.remove) == {account}
            case Kind.CONFIRM if not is_joining:
                waiting = self._rekeys
                left = self._confirm(device, account, header)
                settles = self._rekeys is not waiting
            case Kind.PROPOSAL:
                left = self._leave(header.remove)
            case _:
                pass
        return Appended(entry, left, header.add if submit.welcome else (), settles)

    def _check_submission(self, device: bytes, submit: Submit, *, joins: bool) -> None:
        accepted = self._accepted.get(device, {})
        if submit.submission in accepted:
            raise AlreadyAccepted(accepted[submit.submission])
        if device not in self.members and not joins:
            raise Refusal(Code.NOT_MEMBER, "this device is not a member of the room")
        if submit.submission != len(accepted) + 1:
            raise Refusal(Code.OUT_OF_ORDER, "an earlier submission was refused")
        if submit.read != self.handshake:
            raise Refusal(Code.STALE, "another change came first")
        if len(submit.payload) > MAX_PAYLOAD_BYTES:
            raise Refusal(Code.TOO_LARGE, f"an entry carries at most {MAX_PAYLOAD_BYTES} bytes")

    def _check_header(self, device: bytes, submit: Submit, names: Mapping[bytes, str], now: int) -> Header:
        kind = submit.kind
        try:
            header, _, _ = split_payload(submit.payload)
        except RemoteError as error:
            raise Refusal(Code.BAD_REQUEST, str(error)) from None
        if header.kind != kind:
            raise Refusal(Code.BAD_REQUEST, "the payload's header is of another kind")
        if is_join(submit):
            self._check_join(device, names[device], LinkProof.decode(submit.welcome), header, now)
            return header
        if (header.add or submit.welcome) and kind not in _ADDING:
            raise Refusal(Code.BAD_REQUEST, "only a commit adds devices or carries a welcome")
        if header.remove and kind not in _REMOVING:
            raise Refusal(Code.BAD_REQUEST, "only a rekey removes devices")
        if kind is Kind.PROPOSAL and header.remove != [device]:
            raise Refusal(Code.BAD_REQUEST, "a proposal removes its own sender, nobody else")
        if kind is Kind.GROUP_INFO and (len(header.add) != 1 or header.add[0] not in self.members):
            raise Refusal(Code.BAD_REQUEST, "a group info is for one member")
        if kind is Kind.COMMIT and header.add:
            if device in self.joining:
                raise Refusal(Code.BAD_REQUEST, "a device that is joining cannot add others")
            _check_known(header.add, names)
            if header.ref != digest_names((added, names[added]) for added in header.add):
                raise Refusal(Code.BAD_REQUEST, "a device to add belongs to another account here")
        return header

    def _check_join(self, device: bytes, name: str, proof: LinkProof, header: Header, now: int) -> None:
        """Raise `Refusal` unless a link lets a device in at `now` (seconds since 1970)."""
        self.links.check(proof.link, now, is_member=device in self.members)
        try:
            signed = join_transcript(self.id, header.head, device, name)
            verify_signature(proof.link, signed, proof.signature)
        except CryptoError:
            text = "this device is not a member of the room, and its link does not let it in"
            raise Refusal(Code.NOT_MEMBER, text) from None
        if header.add or header.remove:
            raise Refusal(Code.BAD_REQUEST, "who joins by a link adds and removes nobody")

    def _append(self, device: bytes, submit: Submit, at: int) -> Entry:
        seq = len(self.entries) + 1
        entry = Entry(self.id, seq, device, submit.submission, submit.kind, 0, submit.payload)
        self.entries.append(entry)
        self.times.append(at)
        self._accepted.setdefault(device, {})[submit.submission] = seq
        return entry

    def _confirm(self, device: bytes, account: str, header: Header) -> Sequence[bytes]:
        for rekey in self._rekeys.values():
            if (rekey.ref, rekey.head) == (header.ref, header.head):
                if rekey.author == account or device in rekey.remove:
                    return ()
                self._drop_rekeys(header.head)
                self.joining = {one: last for one, last in self.joining.items() if last != rekey.seq}
                return self._leave(rekey.remove)
        return ()

    def _drop_rekeys(self, head: bytes) -> None:
        """Drop the rekeys of an epoch that has ended."""
        self._rekeys = {author: rekey for author, rekey in self._rekeys.items() if rekey.head != head}

    # --- links ---

    def keep_offer(self, device: bytes, offer: Offer, *, settled: bool) -> None:
        """Keep an offer of an ordinary member; anybody else's, or one that is too large, is dropped."""
        is_member = device in self.members and device not in self.joining
        if is_member and len(offer.group_info) <= MAX_WELCOME_BYTES:
            account, accounts = self.members[device], set(self.members.values())
            self.links.keep(offer, account, len(self.entries), accounts, settled=settled)

    def find_link(self, device: bytes, request: FindLink, now: float) -> LinkOffer:
        """Return the offer that a device asks for at `now` (seconds since 1970). Raises `Refusal`."""
        self.links.check(request.link, now, is_member=device in self.members)
        found = self.links.find(request.link, request.place)
        return LinkOffer(request.id, self.id, self.handshake, self.highest_submission(device), *found)

    # --- routing ---

    def membership(self, device: bytes, after: int) -> tuple[int, int | None]:
        """Return what a device resumes from, and the last entry it may be sent or None. Raises `Refusal`."""
        after = min(after, len(self.entries))
        memberships = self._memberships.get(device, [])
        for joined, left in reversed(memberships):
            if joined <= after and (left is None or after < left):
                return after, left
        if device in self.members:
            raise Refusal(
                Code.BAD_REQUEST, f"this device may read what follows entry {memberships[-1].joined}"
            )
        raise Refusal(Code.NOT_MEMBER, "this device is not a member of the room")

    def highest_submission(self, device: bytes) -> int:
        """Return the highest submission number of a device that was accepted, 0 for none."""
        return len(self._accepted.get(device, {}))

    def mend(
        self, device: bytes, add: Sequence[bytes], remove: Sequence[bytes], names: Mapping[bytes, str]
    ) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """Correct the routing; return the devices that left and those that are members again.

        A device is removed once members of two accounts want it, its own or one that is joining at once.
        Raises `Refusal`.
        """
        if device not in self.members:
            raise Refusal(Code.NOT_MEMBER, "only a member can mend a room's routing")
        if device in self.joining:
            raise Refusal(Code.NOT_MEMBER, "a device that is joining cannot mend a room's routing")
        _check_known(add, names)
        account, accounts = self.members[device], self._ordinary_accounts()
        removed = [device] if device in remove else []
        for other in remove:
            if other in self.joining:
                removed.append(other)
            elif other in self.members and self.members[other] != account:
                first = self._objections.setdefault(other, account)
                if first != account and first in accounts:
                    removed.append(other)
        left, readmitted = self._leave(removed), []
        for added in add:
            self._vouch_for(added)
            memberships = self._memberships.get(added)
            if memberships and added not in self.members:
                memberships[-1] = memberships[-1]._replace(left=None)
                self.members[added] = names[added]
                readmitted.append(added)
            else:
                self._join(added, names[added], 0)
        return left, readmitted

    def _ordinary_accounts(self, without: Sequence[bytes] = ()) -> set[str]:
        """Return the accounts of the members that are not joining, nor among `without`."""
        members = self.members.items()
        return {name for device, name in members if device not in self.joining and device not in without}

    def _vouch_for(self, added: bytes) -> None:
        """Drop objections to a device that an ordinary member adds; it is joining no more."""
        self._objections.pop(added, None)
        self.joining.pop(added, None)

    def _join(self, device: bytes, name: str, joined: int) -> None:
        """Send a device the entries above `joined`; continue a membership that overlaps."""
        if device in self.members:
            return
        memberships = self._memberships.setdefault(device, [])
        while memberships and (memberships[-1].left or 0) > joined:
            joined = min(joined, memberships.pop().joined)
        memberships.append(_Membership(joined))
        self.members[device] = name

    def _leave(self, devices: Iterable[bytes]) -> list[bytes]:
        """End the membership of those of `devices` that are members, with the last entry; return them."""
        left = [device for device in devices if self.members.pop(device, None) is not None]
        for device in left:
            memberships = self._memberships[device]
            memberships[-1] = memberships[-1]._replace(left=len(self.entries))
            self._objections.pop(device, None)
            self.joining.pop(device, None)
        return left


def _check_known(devices: Iterable[bytes], names: Mapping[bytes, str]) -> None:
    """Raise `Refusal` unless all devices are registered."""
    if any(device not in names for device in devices):
        raise Refusal(Code.BAD_REQUEST, "a device to add is not known here")
