"""What a client changes in its rooms for all: who is in them, who may do what, what they are called.

A part of `client.Client`. Each change is a commit, which all members check by the state before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from clave_client.client_messages import ClientMessages, check_current, check_latest
from clave_client.errors import MemberNotFound, SelfRemoval, UsageError
from clave_client.events import MessageKind
from clave_client.formats.agreed_state import (
    MAX_EXPIRY_SECONDS,
    MAX_TOPIC,
    MOST_BANS,
    MOST_PINNED,
    POLICIES,
    Role,
)
from clave_client.rooms.creation import check_title
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.state_change import StateChange
from clave_client.store.message_tables import HistoryLine
from clave_client.sync.committer import Propose
from clave_crypto.errors import CryptoError
from clave_crypto.identity import fingerprint
from clave_crypto.mls import Proposal, Remove
from clave_wire.text import sanitize

__all__ = ["ClientRoles"]


class ClientRoles(ClientMessages):
    """The rooms of one profile as far as they are changed for all; the base of `Client`.

    What returns a bool says whether the change counts already: it does once another account confirms it,
    whose client does that by itself. All raise `UsageError` for what this account may not do.
    """

    # --- people ---

    async def remove(self, room: bytes, name: str, *, repeated: bool = False) -> bool:
        """Remove every device of `name` from a room and rekey it; return whether that counts already.

        With `repeated`, which says that this was tried before, it is no error when nobody has that name.
        """
        here = self._room(room)
        if name == self.name:
            raise SelfRemoval("you cannot remove yourself from a room; leave it")
        if repeated:
            await self.sync.wait_until_sendable(room)
        if not _removals(here, name) and not repeated:
            raise MemberNotFound(f"there is no {sanitize(name)} in {here.record.title}")
        return await self._commit(room, lambda here: _removals(here, name) or None)

    async def ban(self, room: bytes, name: str) -> bool:
        """Remove every device of `name` from a room and have nobody add that account again.

        That can be somebody who has left, too.
        """
        here = self._checked(room, "bans")
        if name == self.name:
            raise SelfRemoval("you cannot ban yourself")
        if here.direct:
            raise UsageError("nobody is banned from a room between two people; /block NAME is for you")
        known = self.sync.store.accounts_called(name)
        is_member = name in here.roster.names.values()
        account = known[0] if len(known) == 1 and not is_member else self._account_called(here, name)
        if account in here.state.banned:
            raise UsageError(f"{sanitize(name)} is banned from {here.record.title} already")
        if len(here.state.banned) >= MOST_BANS:
            raise UsageError(f"a room bans {MOST_BANS} people at most; unban somebody first")

        def propose(here: LocalRoom) -> Sequence[Proposal] | None:
            removals = [
                Remove(leaf) for leaf, each in here.roster.members().items() if each.account == account
            ]
            return [*removals, *here.proposal_of(StateChange(banned=[account]))] or None

        return await self._commit(room, propose)

    async def unban(self, room: bytes, name: str) -> bool:
        """Let a banned account be added again; `name` is its name or its fingerprint."""
        here = self._room(room)
        known = self.sync.store.account_name
        found = [each for each in here.state.banned if name in (known(each), fingerprint(each))]
        if not found:
            raise UsageError(f"{sanitize(name)} is not banned from {here.record.title}; /ban lists who is")
        if len(found) > 1:
            raise UsageError(f"several banned people are called {sanitize(name)}; give a fingerprint of /ban")
        return await self._change_state(room, StateChange(unbanned=found))

    async def set_role(self, room: bytes, name: str, role: Role) -> bool:
        """Make a member an owner, an admin, a member or a guest."""
        here = self._checked(room, "roles")
        if here.direct:
            raise UsageError("in a room between two people both are owners")
        account = self._account_called(here, name)
        if here.state.upgraded().owners == [account] and role is not Role.OWNER:
            raise UsageError(f"{sanitize(name)} is the only owner; make somebody else one first")
        return await self._change_state(room, StateChange(roles={account: role}))

    # --- the room ---

    async def set_policy(self, room: bytes, action: str, role: Role) -> bool:
        """Have an action of `POLICIES` take a role, which is not that of a guest."""
        here = self._checked(room, "roles")
        if action in ("link", "pin"):
            check_latest(here, "such a policy")
        if here.direct:
            raise UsageError("in a room between two people both may do all")
        if action not in POLICIES:
            raise UsageError(f"say what: {', '.join(POLICIES)}")
        if role is Role.GUEST:
            raise UsageError("guests only read; say member, admin or owner")
        return await self._change_state(room, StateChange(policies={action: role}))

    async def set_title(self, room: bytes, title: str) -> bool:
        """Change a room's title for all members."""
        return await self._change_state(room, StateChange(check_title(title)))

    async def set_topic(self, room: bytes, topic: str) -> bool:
        """Change what a room is about; an empty text says nothing."""
        self._checked(room, "a topic")
        topic = topic.strip()
        if len(topic) > MAX_TOPIC:
            raise UsageError(f"a topic has at most {MAX_TOPIC} characters")
        if sanitize(topic) != topic:
            raise UsageError("a topic cannot hold control or invisible characters")
        return await self._change_state(room, StateChange(topic=topic))

    async def pin_message(self, room: bytes, message: bytes) -> bool:
        """Pin a message for all members, so that it is found again."""
        here = self._room(room)
        check_latest(here, "pinned messages")
        line = self._find(here, message)
        if line.kind is not MessageKind.TEXT:
            raise UsageError("that message is deleted, so there is nothing to pin")
        if line.id in here.state.pinned:
            raise UsageError("that message is pinned already; /pin lists those that are")
        if len(here.state.pinned) >= MOST_PINNED:
            raise UsageError(f"a room pins {MOST_PINNED} messages at most; /unpin one first")
        return await self._change_state(room, StateChange(pinned=[line.id]))

    async def unpin_message(self, room: bytes, message: bytes) -> bool:
        """Take the pin of a message away."""
        here = self._room(room)
        if message not in here.state.pinned:
            raise UsageError("that message is not pinned; /pin lists those that are")
        return await self._change_state(room, StateChange(unpinned=[message]))

    def pinned(self, room: bytes) -> list[HistoryLine]:
        """Return the pinned messages of a room that are here, in the order of the log."""
        found = [self.sync.store.message(room, message) for message in self._room(room).state.pinned]
        lines = [line for line in found if line is not None and not self.sync.store.is_blocked(line.account)]
        return sorted(lines, key=lambda line: line.seq)

    async def set_expiry(self, room: bytes, seconds: int) -> bool:
        """Have new messages of a room disappear that long after they were read, or with 0 never."""
        self._checked(room, "messages that disappear")
        if not 0 <= seconds <= MAX_EXPIRY_SECONDS:
            raise UsageError("messages disappear after a year (365d) at most")
        return await self._change_state(room, StateChange(expiry=seconds))

    # --- parts ---

    def _checked(self, room: bytes, what: str) -> LocalRoom:
        """Return a room whose members all know `what`. Raises `UsageError`."""
        here = self._room(room)
        check_current(here, what)
        return here

    def _account_called(self, here: LocalRoom, name: str) -> bytes:
        """Return the account of the member called `name`. Raises `MemberNotFound`."""
        for account, each in here.roster.names.items():
            if each == name:
                return account
        raise MemberNotFound(f"there is no {sanitize(name)} in {here.record.title}")

    async def _change_state(self, room: bytes, change: StateChange) -> bool:
        return await self._commit(room, lambda here: here.proposal_of(change) or None)

    async def _commit(self, room: bytes, propose: Propose) -> bool:
        try:
            return await self.sync.commit(room, propose)
        except CryptoError as error:
            raise UsageError(sanitize(str(error))) from None


def _removals(here: LocalRoom, name: str) -> list[Proposal]:
    """Return the proposals that remove all devices of `name`."""
    return [Remove(leaf) for leaf, person in here.roster.people().items() if person.name == name]
