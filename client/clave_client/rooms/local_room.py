"""One room: what this device may do in it now, and what it submits.

The `prepare_*` methods return what to submit; `log_reader` takes in what the relay streams. Each call is one
transaction, so whatever it returns is on disk already. Knows no network and no clock but the one it is given.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from clave_client import events
from clave_client.errors import PeerError, StateTooOld, UsageError
from clave_client.events import Event
from clave_client.formats.agreed_state import AGREED_STATE_EXTENSION
from clave_client.formats.content import Content, ContentKind, encode_content
from clave_client.formats.payload import epoch_id, header_digest, sign_payload
from clave_client.formats.welcome import RejoinInfo, Welcome
from clave_client.rooms.commit_records import OwnCommit, RekeyIntent
from clave_client.rooms.policy import ROOM_LIMITS, RoomPolicy, agreed_state, leaf_identity, restore_group
from clave_client.rooms.rekeys import Rekey, RekeyEffect
from clave_client.rooms.relay_restores import common_log_end
from clave_client.rooms.stored_room import InFlight, StoredRoom
from clave_client.store.database import OutboxItem, Phase
from clave_crypto.mls import (
    Add,
    Extension,
    Group,
    GroupContextExtensions,
    MLSError,
    PendingCommit,
    Proposal,
    Remove,
)
from clave_wire.header import Header, digest_names, pack_header, split_payload
from clave_wire.messages import Kind, Resumed, Submit

__all__ = ["LocalRoom"]


class LocalRoom(StoredRoom):
    """One room. Make it with `create`, `join` or `load`."""

    # --- where it stands ---

    @property
    def synced(self) -> bool:
        """Whether this device has seen all the relay had when it resumed."""
        return self.resumed and self.record.cursor >= self._end

    @property
    def can_submit(self) -> bool:
        """Whether what is submitted can be taken: nothing that was refused waits for what followed."""
        member = self.record.phase in (Phase.JOINED, Phase.LEAVING)
        return member and self.synced and not self.draining and not self.too_old

    @property
    def is_open(self) -> bool:
        """Whether anything can be submitted now, by a member that stays."""
        return self.can_submit and self.record.phase is Phase.JOINED

    @property
    def may_commit(self) -> bool:
        """Whether this device can try to change the room now."""
        return (
            self.is_open
            and not self.cannot_follow
            and (self.commits.newest is None or self.commits.awaits_confirmation)
        )

    @property
    def commit_due(self) -> bool:
        """Whether somebody has to commit what was proposed before anyone can send."""
        pending = self.commits.newest
        if pending is not None and self._covers_leavers(split_payload(pending.payload)[0].remove):
            return False
        return bool(self.roster.leavers()) and self.may_commit and self.confirmable is None

    @property
    def confirmable(self) -> Rekey | None:
        """The rekey that this device is to confirm: one it can open, rather one that removes somebody."""
        account = self.account
        able = [
            rekey
            for rekey in self.rekeys
            if rekey.effect is RekeyEffect.OPENS and rekey.account != account and self.covers(rekey)
        ]
        return min(able, key=lambda rekey: (not rekey.removes, rekey.seq), default=None)

    def covers(self, rekey: Rekey) -> bool:
        """Whether a rekey takes out everybody who has said so; it cannot be confirmed before it does.

        One by which a device comes back need not: that device cannot know who leaves.
        """
        return rekey.external or self._covers_leavers(rekey.removes)

    def _covers_leavers(self, removes: Collection[bytes]) -> bool:
        members = self.roster.members()
        return all(members[leaf].signature_key in removes for leaf in self.roster.leavers())

    @property
    def may_send(self) -> bool:
        """Whether messages can be encrypted now."""
        if (
            not self.is_open
            or self.cannot_follow
            or self.confirmable is not None
            or self._handshake_in_flight()
        ):
            return False
        if self.commits.awaits_confirmation:
            return not self.commits.rejoining or not self.should_rejoin
        return self.commits.newest is None and not self.group.pending_proposals

    def _handshake_in_flight(self) -> bool:
        """Whether something is on its way after which a message would have to have read it."""
        return any(submitted.kind is not Kind.APPLICATION for submitted in self.in_flight.values())

    @property
    def leave_due(self) -> bool:
        """Whether this device's own removal waits to be proposed in the current epoch."""
        return (
            self.record.phase is Phase.LEAVING
            and self.synced
            and not self.draining
            and not self.cannot_follow
            and not any(submitted.kind is Kind.PROPOSAL for submitted in self.in_flight.values())
        )

    def extensions_with(self, *, title: str) -> tuple[Extension, ...]:
        """Return the group's extensions with another title agreed."""
        state = msgspec.structs.replace(self.state, title=title).encode()
        others = [e for e in self.group.extensions if e.extension_type != AGREED_STATE_EXTENSION]
        return (*others, Extension(AGREED_STATE_EXTENSION, state))

    def invitation(self) -> events.Invited:
        """Return what to ask the person, just after `join`: whoever signed the welcome is the inviter."""
        people = self.roster.people()
        inviter = people[self.group.own_leaf if self.group.welcomed_by is None else self.group.welcomed_by]
        others = (person.name for leaf, person in people.items() if leaf != self.group.own_leaf)
        return events.Invited(self.id, self.record.title, inviter, tuple(others))

    # --- connection ---

    def disconnected(self) -> None:
        """Forget what the relay told; nothing is being streamed any more."""
        self.resumed = self.draining = False
        self.in_flight.clear()

    def start(self, resumed: Resumed, incarnation: bytes = b"") -> tuple[list[Event], bool]:
        """Take the relay's answer to a resume; entries up to its end follow.

        Returns what to tell, and whether to resume once more, from where the relay's log still is the one
        that this device has read.
        """
        told: list[Event] = []
        record, lost_after = self.record, min(self.record.cursor, resumed.seq)
        shared = common_log_end(record.incarnation, self.relay_restores, incarnation, resumed.restores)
        is_restored = record.incarnation not in (b"", incarnation)
        if is_restored:
            lost_after = min(lost_after, shared)
        with self.changing():
            if record.legacy < 0:
                self.set(legacy=resumed.legacy)
                self.finish_legacy(record.cursor)
            self.log_replaced |= is_restored
            if is_restored:  # a commit that let this device in may be lost, while the cursor stands before it
                fork = self.epochs.fork
                self.epochs.set_fork(shared if fork is None else min(shared, fork))
                self.set(began=min(record.began, shared))
            elif record.began > resumed.seq:  # what comes next is to be judged in any case
                self.set(began=resumed.seq)
                if record.incarnation or not resumed.restores:
                    told.append(events.Diverged(self.id, None, events.Inconsistency.PLACE))
            self._note_incarnation(incarnation, resumed.restores)
            if lost_after < record.cursor:
                told.append(self._roll_back(lost_after))
            if resumed.handshake <= self.record.cursor:  # read, or before this device began
                self.set(read=resumed.handshake)
        self._end = resumed.seq
        self.last_accepted = resumed.submission
        self.resumed = True
        if resumed.submission > self.record.submission and not self.too_old:
            self.too_old = True
            text = f"state too old: this profile comes from a backup; leave {self.record.title} and rejoin"
            told.append(events.Notice(self.id, text))
        again = bool(lost_after < record.cursor and resumed.seq > lost_after)
        if again:
            self.resumed = False
        return told, again

    # --- what is sent ---

    def enqueue(self, kind: ContentKind, body: str) -> bytes:
        """Put a message into the outbox and return its id; it survives a crash from here on."""
        self.check_age()
        with self.changing():
            return self.outbox.append(kind, body, round(self.clock() * 1000))

    def prepare_messages(self) -> list[Submit]:
        """Encrypt what waits in the outbox, as far as the window allows, and return what to submit.

        What was encrypted in the present epoch already is submitted as it is, until something before it
        was not.
        """
        if not self.may_send:
            return []
        if self.log_replaced:  # what the relay has of it is known by now
            with self.changing():
                self.discard_ciphertexts()
            self.log_replaced = False
        in_flight_payloads = {submitted.payload for submitted in self.in_flight.values()}
        items = [
            item
            for item in self.outbox.waiting()
            if item.payload is None or item.payload not in in_flight_payloads
        ]
        if not items:
            return []
        group, head = self._sending_group()
        submits, anew = [], False
        with self.changing():
            for item in items:
                if anew or item.payload is None or item.head != head:
                    anew = True
                    payload = self._encrypt_message(group, head, item)
                    self.outbox.seal(item, payload, head)
                else:
                    payload = item.payload
                submits.append(self._submit(Kind.APPLICATION, payload))
        return submits

    def _encrypt_message(self, group: Group, head: bytes, item: OutboxItem) -> bytes:
        count = self.record.count + 1
        self.set(count=count)
        header = pack_header(Header(Kind.APPLICATION, head, self.chain.seen(), count))
        content = encode_content(Content(item.id, item.kind, item.body, b"", item.sent_at))
        return header + group.encrypt(content, authenticated_data=header_digest(header))

    def _sending_group(self) -> tuple[Group, bytes]:
        """Return the group to speak in and its epoch: that of one's own rekey, if that is in the log."""
        commits = self.commits
        if commits.successor is not None and commits.awaits_confirmation and not commits.rejoining:
            return commits.successor, epoch_id(commits.successor)
        return self.group, self.head

    def prepare_commit(self, proposals: Sequence[Proposal]) -> Submit:
        """Make a commit of `proposals` and of what lies pending, and keep it until the log decides.

        What a rekey of this device that waits already would do, the new one does too. Raises `MLSError` when
        the room's rules or the protocol do not allow it, and `UsageError` if it has to wait.
        """
        self.check_age()
        if self.commits.newest is not None and not self.commits.awaits_confirmation:
            raise UsageError("another change of this room is on its way; try again in a moment")
        proposals = [*self._intended(proposals), *proposals]
        adds = any(isinstance(proposal, Add) for proposal in proposals)
        path = (
            not proposals
            or bool(self.group.pending_proposals)
            or any(isinstance(p, Remove | GroupContextExtensions) for p in proposals)
        )
        if adds and path:
            raise UsageError(
                "nobody can be added before another member has confirmed who goes; "
                "try again once somebody is here"
            )
        with self.changing():
            self._make_commit(proposals, Kind.REKEY if path else Kind.COMMIT)
        return self.submit_commit()

    def _intended(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        """Return what this device's rekeys were to do and have not yet, as far as `proposals` do not."""
        named = {p.removed for p in proposals if isinstance(p, Remove)}
        wished: list[Proposal] = [
            Remove(leaf)
            for leaf, member in self.roster.members().items()
            if member.signature_key in self.intent.removes and leaf not in named
        ]
        if self.intent.title and not any(isinstance(p, GroupContextExtensions) for p in proposals):
            wished.append(GroupContextExtensions(self.extensions_with(title=self.intent.title)))
        return wished

    def _make_commit(self, proposals: Sequence[Proposal], kind: Kind) -> None:
        group, members = self.group, self.roster.members()
        if kind is Kind.REKEY:
            self._set_intent(RekeyIntent.of(proposals, members))
        gone = {p.removed for p in proposals if isinstance(p, Remove)} | self.roster.leavers()
        removes = sorted(members[leaf].signature_key for leaf in gone)
        leaves = [p.key_package.leaf_node for p in proposals if isinstance(p, Add)]
        adds = [leaf.signature_key for leaf in leaves]
        ref = digest_names((leaf.signature_key, leaf_identity(leaf).name) for leaf in leaves) if adds else b""
        seen = self.chain.seen()
        header = pack_header(Header(kind, self.head, seen, 0, adds, removes, ref))
        commit = group.commit(
            proposals,
            now=int(self.clock()),
            path=kind is Kind.REKEY,
            authenticated_data=header_digest(header),
        )
        covered = sorted(members[leaf].signature_key for leaf in commit.removed)
        if covered != removes or commit.path is not (kind is Kind.REKEY):
            raise UsageError("what is proposed does not go together; try again")
        successor = restore_group(group.state())
        successor.merge(PendingCommit.decode(commit.encode(), policy=RoomPolicy(), limits=ROOM_LIMITS))
        welcome = b""
        if commit.welcome is not None:
            welcome = Welcome.seal(commit.welcome, epoch_id(successor), seen, self.device)
        self._keep_commit(OwnCommit(kind, header + commit.message, welcome, self.head), successor)

    def _keep_commit(self, pending: OwnCommit, successor: Group) -> None:
        """Keep a commit of one's own, and the key by which those know this device whom it leads to `tip`."""
        self.commits.add(pending, successor)
        self.epochs.keep_leaf_key(successor)

    def prepare_rejoin(self, group_info: bytes, head: bytes, identity: bytes) -> Submit:
        """Make the commit that brings this device back into the epoch `head`. Raises `MLSError`."""
        header = pack_header(Header(Kind.REKEY, head, self.chain.seen()))
        leaves = {self.group.own_leaf, *(home.own_leaf for home in self.epochs.former_rosters)}
        for leaf in sorted(leaves):  # the wrong one is another's, and refused
            try:
                successor, message = self._join(group_info, leaf, identity, header)
                break
            except MLSError:
                if leaf == max(leaves):
                    raise
        if successor.group_id != self.id:
            raise PeerError("it is of another room")
        state = agreed_state(successor.extensions)
        if msgspec.structs.replace(state, title="") != msgspec.structs.replace(self.state, title=""):
            # A device outside cannot check who changed that, and no honest client does.
            raise PeerError("it changes who may do what")
        with self.changing():
            self._keep_commit(OwnCommit(Kind.REKEY, header + message, b"", head, external=True), successor)
        return self.submit_commit()

    def _join(self, group_info: bytes, leaf: int, identity: bytes, header: bytes) -> tuple[Group, bytes]:
        return Group.join_externally(
            group_info,
            identity,
            self.device.secret,
            policy=RoomPolicy(),
            removes=leaf,
            other_groups=(),
            authenticated_data=header_digest(header),
            extension_types=(AGREED_STATE_EXTENSION,),
            limits=ROOM_LIMITS,
        )

    @property
    def retry_due(self) -> bool:
        """Whether a rekey of this device has come to nothing and is to be made anew."""
        return bool(self.intent) and self.may_commit and self.commits.newest is None

    def drop_intent(self) -> None:
        """Forget what this device's rekey was to do: it may not be done."""
        with self.changing():
            self._set_intent(RekeyIntent())

    def submit_commit(self) -> Submit:
        """Return the submission of this device's commit, as it was made."""
        pending = self.commits.newest
        assert pending is not None  # noqa: S101 (the caller made one)
        with self.changing():
            return self._submit(pending.kind, pending.payload, pending.welcome)

    def abandon_rejoin(self) -> None:
        """Give up an external commit that is not in the log; one that is there can still be confirmed."""
        if not self.commits.awaits_confirmation:
            with self.changing():
                self.commits.drop_newest()

    @property
    def can_resubmit_commit(self) -> bool:
        """Whether this device's commit, which the relay did not take, can be submitted once more as it is."""
        pending = self.commits.newest
        if pending is None or pending.placed or self._is_in_flight(pending.payload):
            return False
        if not (self.can_submit if pending.external else self.is_open):
            return False
        if pending.kind is Kind.REKEY and self.confirmable is not None:
            return False
        return pending.external or (
            pending.head == self.head and self._covers_leavers(split_payload(pending.payload)[0].remove)
        )

    @property
    def commit_is_stale(self) -> bool:
        """Whether this device's commit, which is in no log, can count no longer."""
        pending = self.commits.newest
        waits = pending is not None and not pending.placed and not self._is_in_flight(pending.payload)
        return waits and self.is_open and not self.can_resubmit_commit

    def _is_in_flight(self, payload: bytes) -> bool:
        return any(submitted.payload == payload for submitted in self.in_flight.values())

    def prepare_confirm(self, rekey: Rekey) -> Submit:
        """Vouch for another account's rekey, which this device can open."""
        return self._prepare_signed(Header(Kind.CONFIRM, self.head, self.chain.seen(), ref=rekey.ref))

    def prepare_rejoin_request(self) -> Submit:
        """Say that this device cannot follow the others."""
        with self.changing():
            self.epochs.rejoin_requests += 1
            return self._prepare_signed(Header(Kind.LOST, self.head, self.chain.seen()))

    def prepare_rejoin_info(self, device: bytes) -> Submit:
        """Give a member that cannot follow what it comes back with. Raises `MLSError`."""
        sealed = RejoinInfo.seal(self.group, self.member(device).leaf_index)
        header = Header(Kind.GROUP_INFO, self.head, self.chain.seen(), add=[device])
        return self._prepare_signed(header, sealed)

    def should_rejoin_with(self, rejoin_info: RejoinInfo) -> bool:
        """Whether this device is to come back by a help: it cannot follow, or enough are in that epoch."""
        pending = self.commits.newest
        tried = pending is not None and pending.external and pending.head == rejoin_info.head
        if rejoin_info.head == self.head or tried or not self.can_submit:
            return False
        return self.cannot_follow or self.epochs.should_enter(rejoin_info.head, self.account, self._quorum)

    @property
    def should_rejoin(self) -> bool:
        """Whether this device is to go where others are: it cannot follow, or enough are elsewhere."""
        return self.cannot_follow or self.epochs.should_leave(self.account, self._quorum)

    @property
    def _quorum(self) -> int:
        """How many other accounts it takes to make this device leave an epoch that it can follow."""
        return max(1, min(2, len(self.others) + self.roster.has_sibling_devices))

    def open_rejoin_info(self, rejoin_info: RejoinInfo) -> bytes:
        """Return the group info that a member sealed to this device. Raises `MLSError`."""
        return rejoin_info.open(self.group, self.epochs.leaf_keys)

    def _prepare_signed(self, header: Header, welcome: bytes = b"") -> Submit:
        payload = sign_payload(self.id, header, self.device)
        with self.changing():
            return self._submit(header.kind, payload, welcome)

    def prepare_leave(self) -> Submit:
        """Propose this device's own removal; the relay stops routing to it with that entry."""
        own = self.roster.own_device
        header = pack_header(Header(Kind.PROPOSAL, self.head, self.chain.seen(), remove=[own]))
        with self.changing():
            self._withdraw_own()
            # A state too old to send messages from still leaves, under a number that was not taken, and in
            # the clear, since its next key may have been used: all that shows is a leaf's index.
            message = self.group.propose(
                Remove(self.group.own_leaf),
                now=int(self.clock()),
                public=self.too_old,
                authenticated_data=header_digest(header),
            )
            return self._submit(Kind.PROPOSAL, header + message)

    def drop_commit(self) -> None:
        """Forget this device's commit, to be made anew."""
        with self.changing():
            self.commits.drop_newest()

    def cancel_commit(self) -> None:
        """Forget this device's commit, which never left or is refused for good."""
        with self.changing():
            self.commits.drop_newest()
            self._set_intent(RekeyIntent())

    def cancel_submits(self, submits: Sequence[Submit]) -> None:
        """Forget the latest submissions, which never left: the relay can answer those before them only."""
        for submit in submits:
            self.in_flight.pop(submit.submission, None)

    # --- what the person decides ---

    def answer(self, *, accept: bool) -> None:
        """Accept the invitation, or start to leave again."""
        if self.record.phase is not Phase.INVITED:
            raise UsageError(f"there is no open invitation to {self.record.title}")
        with self.changing():
            self.set(phase=Phase.JOINED if accept else Phase.LEAVING)

    def start_leaving(self) -> None:
        """Give up membership; `prepare_leave` follows as soon as it can be sent."""
        with self.changing():
            self.set(phase=Phase.LEAVING)

    def mark_shown(self, place: int) -> bool:
        """Note that the message at `place` goes onto a screen; False when it did before."""
        is_late = place in self.late
        if place <= self.record.shown and not is_late:
            return False
        with self.changing():
            if is_late:
                self._set_late(self.late - {place})
            self.set(shown=max(self.record.shown, place))
        return True

    def _submit(self, kind: Kind, payload: bytes, welcome: bytes = b"") -> Submit:
        """Give a payload the next number and note that it is on its way."""
        number = self.last_accepted + len(self.in_flight) + 1
        self.set(submission=max(self.record.submission, number))
        self.forget_refusal(payload)
        self.in_flight[number] = InFlight(kind, payload)
        return Submit(self.id, number, self.record.read, kind, payload, welcome)

    def check_age(self) -> None:
        """Raise `StateTooOld` if this device has sent what it does not remember."""
        if self.too_old:
            raise StateTooOld(
                f"this profile comes from a backup, too old to send to {self.record.title}; leave and rejoin"
            )
