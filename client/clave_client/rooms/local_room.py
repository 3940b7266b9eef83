"""One room: what this device can do in it now, and what it submits.

The `prepare_*` methods return submissions; `log_reader` reads what the relay streams. Each call is one
transaction, so what it returns is on disk already. Knows no network, and no clock but the one it is given.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from clave_client import events
from clave_client.errors import PeerError, UsageError
from clave_client.events import Event
from clave_client.formats.agreed_state import Role
from clave_client.formats.content import SPEAKING
from clave_client.formats.payload import RESTORED, epoch_id, header_digest, sign_payload
from clave_client.formats.welcome import RejoinInfo
from clave_client.rooms.commit_builder import build_commit, build_rejoin
from clave_client.rooms.commit_records import OwnCommit, RekeyIntent
from clave_client.rooms.link_room import LinkRoom
from clave_client.rooms.outbox import BECAME_GUEST, ERASED
from clave_client.rooms.policy import (
    agreed_state,
    check_direct,
    joined_by,
    member_identity,
    state_proposal,
)
from clave_client.rooms.rekeys import Rekey, RekeyEffect
from clave_client.rooms.relay_restores import common_log_end
from clave_client.rooms.settings_entries import ASKED_PART
from clave_client.rooms.state_change import StateChange
from clave_client.rooms.stored_room import InFlight
from clave_client.store.database import OutboxItem
from clave_client.values import Phase
from clave_crypto.mls import (
    Add,
    Group,
    GroupContextExtensions,
    Proposal,
    Remove,
)
from clave_wire.header import Header, pack_header, split_payload
from clave_wire.messages import Kind, Resumed, Submit

__all__ = ["LocalRoom"]

_MOST_UNANSWERED: Final = 3
"""Rejoin requests after which a device that waits to rejoin speaks in the epoch that it is in."""


class LocalRoom(LinkRoom):
    """One room. Make it with `create`, `join` or `load`."""

    # --- state ---

    @property
    def synced(self) -> bool:
        """Whether this device has read all that the relay had when the room was resumed."""
        return self.resumed and self.record.cursor >= self._end

    @property
    def can_submit(self) -> bool:
        """Whether the relay can accept a submission: the log is read and no refusal is being drained."""
        member = self.record.phase in (Phase.JOINED, Phase.LEAVING)
        return member and self.synced and not self.draining and not self.too_old

    @property
    def is_open(self) -> bool:
        """Whether a member that does not leave can submit something now."""
        return self.can_submit and self.record.phase is Phase.JOINED

    @property
    def may_commit(self) -> bool:
        """Whether this device can make a commit now."""
        return (
            self.is_open
            and not (self.cannot_follow or self.epochs.restored or self.awaits_entry)
            and (self.commits.newest is None or self.commits.awaits_confirmation)
        )

    @property
    def commit_due(self) -> bool:
        """Whether a member has to commit the pending leaves before anyone can send."""
        commit = self.commits.newest
        if commit is not None and self._covers_leavers(split_payload(commit.payload)[0].remove):
            return False
        return bool(self.roster.leavers()) and self.may_commit and self.confirmable is None

    @property
    def confirmable(self) -> Rekey | None:
        """The rekey to confirm: one that this device can open, those that remove somebody first."""
        able = [
            rekey
            for rekey in self.rekeys
            if rekey.effect is RekeyEffect.OPENS and rekey.account != self.account and self.covers(rekey)
        ]
        return min(able, key=lambda rekey: (not rekey.removes, rekey.seq), default=None)

    def covers(self, rekey: Rekey) -> bool:
        """Return whether a rekey removes all that leave; it cannot be confirmed otherwise.

        A rejoin need not: its device cannot know who leaves. Who joins by a link joins again after that.
        """
        is_rejoin = rekey.external and rekey.joiner is None
        return is_rejoin or self._covers_leavers(rekey.removes)

    def _covers_leavers(self, removes: Collection[bytes]) -> bool:
        members = self.roster.members()
        return all(members[leaf].signature_key in removes for leaf in self.roster.leavers())

    @property
    def may_send(self) -> bool:
        """Whether messages can be encrypted now."""
        if (
            not self.is_open
            or self.cannot_follow
            or self.epochs.restored
            or self.confirmable is not None
            or self._handshake_in_flight()
        ):
            return False
        if self.commits.awaits_confirmation:
            waits_to_rejoin = self.commits.rejoining and self.should_rejoin
            # Members of one epoch that all wait for another one must hear of each other to stop waiting.
            return not waits_to_rejoin or self.epochs.rejoin_requests > _MOST_UNANSWERED
        return self.commits.newest is None and not self.group.pending_proposals

    def _handshake_in_flight(self) -> bool:
        """Return whether a submission is in flight that later messages would have to have read."""
        return any(submitted.kind is not Kind.APPLICATION for submitted in self.in_flight.values())

    @property
    def leave_due(self) -> bool:
        """Whether this device's own removal has to be proposed in the present epoch."""
        return (
            self.record.phase is Phase.LEAVING
            and self.synced
            and not self.draining
            and not self.cannot_follow
            and not any(submitted.kind is Kind.PROPOSAL for submitted in self.in_flight.values())
        )

    def proposal_of(self, change: StateChange) -> list[Proposal]:
        """Return the proposal that changes the agreed state, with what waits; none if all is so already."""
        waiting = self.intent.change.apply(self.state)
        state = change.apply(waiting)
        is_so = state == waiting == self.state
        return [] if is_so else [state_proposal(self.group.extensions, state)]

    @property
    def advertise_due(self) -> bool:
        """Whether this device has to tell the members, by a rekey, what this version knows."""
        return self.may_commit and not self.roster.is_up_to_date(self.roster.own_device)

    def invitation(self) -> events.Invited:
        """Return the event of an invitation, after `join`; the signer of the welcome is the inviter."""
        people = self.roster.people()
        inviter = people[self.group.own_leaf if self.group.welcomed_by is None else self.group.welcomed_by]
        others = (person.name for leaf, person in people.items() if leaf != self.group.own_leaf)
        return events.Invited(self.id, self.record.title, inviter, tuple(others))

    # --- connection ---

    def disconnected(self) -> None:
        """Note that the relay streams nothing any more; submissions in flight are forgotten."""
        self.resumed = self.draining = False
        self.in_flight.clear()

    def start(self, resumed: Resumed, incarnation: bytes = b"") -> tuple[list[Event], bool]:
        """Handle the relay's answer to a resume; entries up to `resumed.seq` follow.

        Rolls back what a restored relay has lost. Returns the events, and whether to resume again, from the
        last entry that the relay's log shares with what this device has read.
        """
        reported: list[Event] = []
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
            if is_restored:  # the commit that added this device may be lost, even with the cursor before it
                fork = self.epochs.fork
                self.epochs.set_fork(shared if fork is None else min(shared, fork))
                self.set(began=min(record.began, shared))
                self.put_part(ASKED_PART, None)
            elif record.began > resumed.seq:  # check the next entries in any case
                self.set(began=resumed.seq)
                if record.incarnation or not resumed.restores:
                    reported.append(events.Diverged(self.id, None, events.Inconsistency.PLACE))
            self._note_incarnation(incarnation, resumed.restores)
            if lost_after < record.cursor:
                reported.append(self._roll_back(lost_after))
            if resumed.handshake <= self.record.cursor:  # read, or before this device began
                self.set(read=resumed.handshake)
            self.offer_due |= is_restored
        self._end = resumed.seq
        self.last_accepted = resumed.submission
        self.resumed = True
        if resumed.submission > self.record.submission and not (self.too_old or self.epochs.restored):
            self.too_old = True
            text = f"state too old: this profile comes from a backup; leave {self.record.title} and rejoin"
            reported.append(events.Notice(self.id, text))
        again = bool(lost_after < record.cursor and resumed.seq > lost_after)
        if again:
            self.resumed = False
        return reported, again

    # --- submitting ---

    def prepare_messages(self) -> list[Submit]:
        """Encrypt what waits in the outbox, up to the window, and return the submissions.

        Ciphertexts of the present epoch are submitted as they are, up to the first that has to be made again.
        """
        if not self.outbox or not self.may_send:
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
        submits, encrypt_again = [], False
        with self.changing():
            for item in items:
                if encrypt_again or item.payload is None or item.head != head:
                    encrypt_again = True
                    payload = self._encrypt_message(group, head, item)
                    self.outbox.store_ciphertext(item, payload, head)
                else:
                    payload = item.payload
                submits.append(self._submit(Kind.APPLICATION, payload))
        return submits

    def unsendable(self) -> list[tuple[OutboxItem, str]]:
        """Return what waits and will not be sent, with why: it was erased, or a guest would say it."""
        waiting = [item for item in self.outbox.waiting() if not self._is_in_flight(item.payload)]
        if not waiting:
            return []
        state = agreed_state(self._sending_group()[0].extensions)
        is_guest = state.role_of(self.account) is Role.GUEST
        unspoken = [(item, BECAME_GUEST) for item in waiting if is_guest and item.kind in SPEAKING]
        return unspoken or [(item, ERASED) for item in waiting if not item.data]

    def drop_unsent(self, item: OutboxItem) -> None:
        """Delete what will not be sent; if the relay took it all the same, that is known."""
        with self.changing():
            if item.payload is not None:
                self.refused_payloads = self.refused_payloads.with_added(item.payload)
            self.outbox.drop(item)

    def _encrypt_message(self, group: Group, head: bytes, item: OutboxItem) -> bytes:
        count = self.record.count + 1
        self.set(count=count)
        header = pack_header(Header(Kind.APPLICATION, head, self.chain.seen(), count))
        return header + group.encrypt(item.data, authenticated_data=header_digest(header))

    def _sending_group(self) -> tuple[Group, bytes]:
        """Return the group to encrypt in, and its epoch id: that of the own rekey, if that is in the log."""
        commits = self.commits
        if commits.successor is not None and commits.awaits_confirmation and not commits.rejoining:
            return commits.successor, epoch_id(commits.successor)
        return self.group, self.head

    def prepare_commit(self, proposals: Sequence[Proposal]) -> Submit:
        """Make a commit of `proposals` and of pending ones, and store it until the log decides.

        It also does what a waiting rekey of this device was to do. Raises `MLSError` when the room's rules or
        the protocol do not allow it, and `UsageError` if it has to wait.
        """
        self.check_age()
        if self.commits.newest is not None and not self.commits.awaits_confirmation:
            raise UsageError("another change of this room is on its way; try again in a moment")
        waiting = self.proposal_of(StateChange())
        proposals = self.intent.added_to(proposals, self.roster.members(), waiting)
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

    def _make_commit(self, proposals: Sequence[Proposal], kind: Kind) -> None:
        if kind is Kind.REKEY:
            self._set_intent(RekeyIntent.of(proposals, self.roster.members(), self.group.extensions))
        commit, successor = build_commit(
            self.group,
            self.roster,
            proposals,
            kind=kind,
            seen=self.chain.seen(),
            device=self.device,
            now=int(self.clock()),
        )
        self._add_commit(commit, successor)

    def _add_commit(self, commit: OwnCommit, successor: Group) -> None:
        """Store an own commit, and this device's leaf key in the group it leads to."""
        self.commits.add(commit, successor)
        self.epochs.keep_leaf_key(successor)

    def prepare_rejoin(self, group_info: bytes, head: bytes, identity: bytes) -> Submit:
        """Build the external commit that takes this device into the epoch `head`.

        Raises `MLSError`, and `PeerError` when `group_info` is of another room or changes the rules.
        """
        commit, successor = build_rejoin(
            group_info,
            {self.group.own_leaf, *(former.own_leaf for former in self.epochs.former_rosters)},
            head=head,
            seen=self.chain.seen(),
            identity=identity,
            device=self.device,
            proof=joined_by(self.group.member(self.group.own_leaf).leaf),
        )
        if successor.group_id != self.id:
            raise PeerError("it is of another room")
        self._check_brought(successor)
        with self.changing():
            self._add_commit(commit, successor)
        return self.submit_commit()

    def _check_brought(self, successor: Group) -> None:
        """Raise `PeerError` if no commits lead from the known state to that of `successor`."""
        check_direct(successor)
        state = agreed_state(successor.extensions)
        members = {member.leaf_index: member_identity(member).account for member in successor.members()}
        accounts = [account for _, account in sorted(members.items())]
        is_former = msgspec.structs.replace(self.state, title=state.title) == state
        if (state.is_former and not is_former) or state.direct != self.state.direct:
            raise PeerError("it changes what cannot change in a room")
        if state.settled(accounts) != state:
            raise PeerError("its roles do not fit who is in the room")

    @property
    def retry_due(self) -> bool:
        """Whether a rekey of this device was superseded and has to be made again."""
        return bool(self.intent) and self.may_commit and self.commits.newest is None

    def drop_intent(self) -> None:
        """Forget what this device's rekey was to do, as it is not allowed."""
        with self.changing():
            self._set_intent(RekeyIntent())

    def submit_commit(self) -> Submit:
        """Return the submission of this device's stored commit."""
        commit = self.commits.newest
        assert commit is not None  # noqa: S101 (the caller checked)
        with self.changing():
            return self._submit(commit.kind, commit.payload, commit.welcome)

    def abandon_rejoin(self) -> None:
        """Delete an external commit that is not in the log; one that is there can still be confirmed."""
        if not self.commits.awaits_confirmation:
            with self.changing():
                self.commits.drop_newest()

    @property
    def can_resubmit_commit(self) -> bool:
        """Whether this device's commit, which is not in the log, can be submitted again as it is."""
        commit = self.commits.newest
        if commit is None or commit.logged or self._is_in_flight(commit.payload):
            return False
        if not (self.can_submit if commit.external else self.is_open):
            return False
        if commit.kind is Kind.REKEY and self.confirmable is not None:
            return False
        return commit.external or (
            commit.head == self.head and self._covers_leavers(split_payload(commit.payload)[0].remove)
        )

    @property
    def commit_is_stale(self) -> bool:
        """Whether this device's commit, which is not in the log, can no longer apply."""
        commit = self.commits.newest
        waits = commit is not None and not commit.logged and not self._is_in_flight(commit.payload)
        return waits and self.is_open and not self.can_resubmit_commit

    def _is_in_flight(self, payload: bytes | None) -> bool:
        return any(submitted.payload == payload for submitted in self.in_flight.values())

    def prepare_confirm(self, rekey: Rekey) -> Submit:
        """Return the confirmation of another account's rekey, which this device can open."""
        return self._prepare_signed(Header(Kind.CONFIRM, self.head, self.chain.seen(), ref=rekey.ref))

    def prepare_rejoin_request(self) -> Submit:
        """Return the request for a rejoin info: this device cannot follow the group."""
        with self.changing():
            self.epochs.rejoin_requests += 1
            ref = RESTORED if self.epochs.restored else b""
            return self._prepare_signed(Header(Kind.LOST, self.head, self.chain.seen(), ref=ref))

    def prepare_rejoin_info(self, device: bytes) -> Submit:
        """Return the answer to a rejoin request: a GroupInfo sealed to its device. Raises `MLSError`."""
        sealed = RejoinInfo.seal(self.group, self.member(device).leaf_index)
        header = Header(Kind.GROUP_INFO, self.head, self.chain.seen(), add=[device])
        return self._prepare_signed(header, sealed)

    def should_rejoin_with(self, rejoin_info: RejoinInfo) -> bool:
        """Return whether to rejoin with this info: this device cannot follow, or a quorum is in its epoch."""
        commit = self.commits.newest
        tried = commit is not None and commit.external and commit.head == rejoin_info.head
        if rejoin_info.head == self.head or tried or not self.can_submit:
            return False
        return self.cannot_follow or self.epochs.should_enter(rejoin_info.head, self.account, self._quorum)

    @property
    def should_rejoin(self) -> bool:
        """Whether this device has to rejoin: it cannot follow, or a quorum is in another epoch."""
        return self.cannot_follow or self.epochs.should_leave(self.account, self._quorum)

    @property
    def _quorum(self) -> int:
        """How many other accounts it takes to have this device leave an epoch that it can follow: 1 or 2."""
        return max(1, min(2, len(self.others) + self.roster.has_sibling_devices))

    def open_rejoin_info(self, rejoin_info: RejoinInfo) -> bytes:
        """Open the GroupInfo that a member sealed to this device. Raises `MLSError`."""
        return rejoin_info.open(self.group, self.epochs.leaf_keys)

    def _prepare_signed(self, header: Header, welcome: bytes = b"") -> Submit:
        payload = sign_payload(self.id, header, self.device)
        with self.changing():
            return self._submit(header.kind, payload, welcome)

    def prepare_leave(self) -> Submit:
        """Return the proposal of this device's own removal; the relay stops routing to it with that entry."""
        own = self.roster.own_device
        header = pack_header(Header(Kind.PROPOSAL, self.head, self.chain.seen(), remove=[own]))
        with self.changing():
            self._withdraw_own()
            # A restored profile may have used its next ratchet key already, so it leaves by a public message,
            # which shows only a leaf index.
            message = self.group.propose(
                Remove(self.group.own_leaf),
                now=int(self.clock()),
                public=self.too_old or self.epochs.restored,
                authenticated_data=header_digest(header),
            )
            return self._submit(Kind.PROPOSAL, header + message)

    def drop_commit(self) -> None:
        """Delete this device's commit; its intent stays, to be committed again."""
        with self.changing():
            self.commits.drop_newest()

    def cancel_commit(self) -> None:
        """Delete this device's commit and its intent: it was never sent."""
        with self.changing():
            self.commits.drop_newest()
            self._set_intent(RekeyIntent())

    def cancel_submits(self, submits: Sequence[Submit]) -> None:
        """Forget the latest submissions, which were not sent."""
        for submit in submits:
            self.in_flight.pop(submit.submission, None)

    def _submit(self, kind: Kind, payload: bytes, welcome: bytes = b"") -> Submit:
        """Return the submission of a payload under the next number, and note it as in flight."""
        number = self.last_accepted + len(self.in_flight) + 1
        self.set(submission=max(self.record.submission, number))
        self.refused_payloads = self.refused_payloads.without(payload)
        self.in_flight[number] = InFlight(kind, payload)
        return Submit(self.id, number, self.record.read, kind, payload, welcome)
