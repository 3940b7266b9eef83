"""Checks what a profile has kept of one room, from its database alone. Asks nobody and changes nothing.

The group with its tree and keys, what its members agree on, and the people; `audit_log` has the log and the
messages. Each check is a method that returns what holds, in words, or raises `Broken` or whatever damaged
bytes make the room's own code raise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Final

import msgspec

from clave_client.errors import ClientError
from clave_client.formats.agreed_state import AgreedState
from clave_client.formats.payload import epoch_id
from clave_client.rooms.audit_log import Broken, LogAudit, count_of
from clave_client.rooms.outbox import Outbox
from clave_client.rooms.pending_commits import PendingCommits
from clave_client.rooms.policy import (
    agreed_state,
    check_direct,
    check_names_differ,
    member_identity,
    restore_group,
    room_title,
)
from clave_client.rooms.roster import Roster
from clave_client.rooms.stored_room import DIRECT
from clave_client.store.audit_queries import read_only
from clave_client.store.database import RoomRecord, Store
from clave_client.store.pins import Pins
from clave_client.values import MOST_NUMBER, AuditFinding, Phase
from clave_crypto.errors import CryptoError
from clave_crypto.identity import DeviceKey, VerifiedIdentity, fingerprint, verify_identity
from clave_crypto.keys import Secret
from clave_crypto.mls import Group, GroupState, MLSError
from clave_wire.errors import RemoteError
from clave_wire.text import sanitize

__all__ = ["audit_room"]

_SPOKEN: Final = (Broken, ClientError, CryptoError, RemoteError)
"""What a check raises that does not hold, with words for it."""

_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, LookupError, OverflowError)
"""What it raises as it meets bytes that nobody wrote."""


def audit_room(store: Store, record: RoomRecord, *, most_searched: int = MOST_NUMBER) -> list[AuditFinding]:
    """Check what `store` has of a room; return a finding of each check.

    A room that this device has left, or fell behind in, has no keys any more: then only its history is there.
    At most `most_searched` texts are looked up in the search index, which takes half a millisecond each; only
    those are that have no exact copy, as those of others do that are older than the last 10,000 events.
    """
    with read_only(store):
        audit = _RoomAudit(store, record)
        checks: list[tuple[str, str, Callable[[], str]]] = []
        if record.phase not in (Phase.CLOSED, Phase.BEHIND):
            checks += [
                ("group", "the group", audit.check_group),
                ("tree", "the ratchet tree", audit.check_tree),
                ("keys", "the keys of this device", audit.check_keys),
                ("state", "the agreed state", audit.check_state),
                ("roster", "the list of members", audit.check_roster),
                ("names", "the names", audit.check_names),
                ("pins", "the keys that you know", audit.check_pins),
                ("commits", "changes of this device that wait", audit.check_commits),
                ("log", "the log's hash chain", audit.check_chain),
                ("outbox", "messages that wait to be sent", audit.check_outbox),
            ]
        checks.append(("history", "the history", partial(audit.check_history, most_searched)))
        return [_find(*check) for check in checks]


def _find(name: str, subject: str, check: Callable[[], str]) -> AuditFinding:
    try:
        return AuditFinding(name, True, f"{subject}: {check()}")
    except _SPOKEN as error:
        return AuditFinding(name, False, f"{subject}: {sanitize(str(error))}")
    except _UNREADABLE as error:
        return AuditFinding(name, False, f"{subject}: cannot be read ({sanitize(str(error))})")


class _RoomAudit:
    """The checks of one room."""

    def __init__(self, store: Store, record: RoomRecord) -> None:
        self._store = store
        self._record = record

    # --- parts, each read once; what they raise, every check that needs them does ---

    @cached_property
    def _own(self) -> VerifiedIdentity:
        identity, secret = self._store.get("identity"), self._store.get("device_secret")
        if identity is None or secret is None:
            raise Broken("the profile's own key is missing")
        return verify_identity(identity, DeviceKey.from_secret(Secret(secret)).public)

    @cached_property
    def _group(self) -> Group:
        epoch, ratchets = (self._store.part(self._record.id, name) for name in ("epoch", "ratchets"))
        if epoch is None or ratchets is None:
            raise Broken("what is stored of the group is missing")
        try:
            return restore_group(GroupState(epoch, ratchets))
        except MLSError as error:
            raise Broken(f"the group cannot be restored ({error})") from None

    @cached_property
    def _state(self) -> AgreedState:
        return agreed_state(self._group.extensions)

    @cached_property
    def _commits(self) -> PendingCommits:
        commits = PendingCommits(self._store, self._record.id, Outbox(self._store, self._record.id))
        commits.load(self._store.small_parts(self._record.id))
        return commits

    @property
    def _log(self) -> LogAudit:
        return LogAudit(self._store, self._record, self._own, self._commits)

    # --- the group ---

    def check_group(self) -> str:
        group, own = self._group, self._own
        if group.group_id != self._record.id:
            raise Broken("it is that of another room")
        member = group.member(group.own_leaf)
        if (member.identity, member.signature_key) != (self._store.get("identity"), own.device):
            raise Broken("the leaf of this device is not this profile's")
        return f"it is restored, in epoch {group.epoch}"

    def check_tree(self) -> str:
        self._group.check_tree()
        devices = count_of(len(self._group.members()), "device")
        return f"of {devices}, all signatures, certificates, parent hashes and the tree hash hold"

    def check_keys(self) -> str:
        self._group.check_keys()
        return "the confirmation tag is that of the epoch, and each private key fits the tree"

    # --- what the members agree on ---

    def check_state(self) -> str:
        state = self._state
        accounts = [member_identity(member).account for member in self._group.members()]
        if state.settled(accounts) != state or not self._are_known({*state.admins} - {*accounts}):
            raise Broken("somebody who is not in the room has a role")
        if not set(accounts).isdisjoint(state.banned):
            raise Broken("somebody in the room is banned")
        check_direct(self._group)
        if self._record.title != room_title(self._group):
            raise Broken("the title in it is not the one that is shown")
        if self._store.room_setting(self._record.id, DIRECT) != "".join(
            account.hex() for account in state.direct
        ):
            raise Broken("whether the room is between two people is not as it is noted")
        roles = len({*state.owners, *state.admins, *state.guests})
        return f"its form is valid, and the roles in it ({roles}) fit who is in the room"

    def _are_known(self, accounts: set[bytes]) -> bool:
        """Return whether this device can have met all `accounts`: a former state keeps admins who left."""
        return self._record.began > 0 or all(self._store.account(each) is not None for each in accounts)

    # --- people ---

    def check_roster(self) -> str:
        stored = self._store.part(self._record.id, "roster")
        if stored is None:
            return "none is kept beside the group"
        expected = Roster.of(self._group, self._store)
        if stored != expected.encode():
            kept = Roster.decode(stored, self._record.id, self._store)
            if kept.head != epoch_id(self._group):
                raise Broken("it is of another epoch than the group")
            raise Broken("it is not that of the group")
        return f"{count_of(len(expected.accounts), 'account')} in it, as in the group"

    def check_names(self) -> str:
        check_names_differ(self._group)
        return "no two accounts of the room have names that look alike"

    def check_pins(self) -> str:
        pins = Pins(self._store)
        for member in self._group.members():
            person = member_identity(member)
            known = pins.contradicted_by(person.name, person.account)
            if known is not None:
                raise Broken(
                    f"{person.name} has another key, {fingerprint(person.account)}, than {known.source},"
                    f" {fingerprint(known.account)}"
                )
        return "no member has another one"

    # --- the log ---

    def check_commits(self) -> str:
        commits = self._commits
        pending = ([] if commits.successor is None else [commits.successor]) + [
            group for _, group in commits.earlier
        ]
        for group in pending:
            if group.group_id != self._record.id:
                raise Broken("one is of another room")
            group.check_tree()
            group.check_keys()
        return f"{count_of(len(pending), 'change')}, whose trees and keys hold" if pending else "none"

    def check_chain(self) -> str:
        return self._log.check_chain()

    def check_outbox(self) -> str:
        return self._log.check_outbox(epoch_id(self._group))

    def check_history(self, most_searched: int) -> str:
        devices = {}
        if self._record.phase not in (Phase.CLOSED, Phase.BEHIND):
            members = (member_identity(member) for member in self._group.members())
            devices = {member.device: member.account for member in members}
        return LogAudit(self._store, self._record, self._own, None).check_history(devices, most_searched)
