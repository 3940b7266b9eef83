"""What a profile keeps for itself: who is blocked, and archive, drafts and receipts of rooms. Sends nothing.

A part of `client.Client`.
"""

from __future__ import annotations

from clave_client.client_state import ClientState
from clave_client.errors import MemberNotFound, UsageError
from clave_client.formats.content import MAX_BODY_BYTES
from clave_client.store.settings import DRAFT, READ_RECEIPTS
from clave_client.sync.blocking import block_account
from clave_client.values import BlockedPerson
from clave_crypto.identity import fingerprint
from clave_wire.text import sanitize

__all__ = ["ClientSettings"]

_YES = "yes"


class ClientSettings(ClientState):
    """The settings of one profile; the base of `ClientMessages`."""

    # --- people ---

    def block(self, name: str) -> BlockedPerson:
        """Block the account that goes by `name`: nothing of it is shown, its invitations are refused unseen.

        What it changes in rooms counts all the same. Raises `UsageError` if there is none, or several.
        """
        if name == self.name:
            raise UsageError("you cannot block yourself")
        keys = self.keys(name)
        found = keys[:1] if keys and keys[0].bound else keys
        if not found:
            raise MemberNotFound(f"nobody you know goes by {sanitize(name)}")
        if len(found) > 1:
            raise UsageError(f"several accounts go by {sanitize(name)}; decide with /trust first")
        account = found[0].account
        for room in block_account(self.sync, account, name):
            self.sync.submit_noted(room)
        return BlockedPerson(name, account, fingerprint(account))

    def unblock(self, name: str) -> BlockedPerson:
        """Block somebody no longer, so that all that was said is shown again. Raises `UsageError`."""
        for each in self.blocked():
            if name in (each.name, each.fingerprint):
                self.sync.store.unblock(each.account)
                return each
        raise UsageError(f"{sanitize(name)} is not blocked; /block lists who is")

    def blocked(self) -> list[BlockedPerson]:
        """Return the blocked people, by the names they were blocked under."""
        return [
            BlockedPerson(name, account, fingerprint(account)) for account, name in self.sync.store.blocked()
        ]

    # --- rooms ---

    def set_archived(self, room: bytes, *, archived: bool) -> None:
        """Leave a room out of lists until somebody says something there, or take it in again."""
        self._room(room).set_archived(archived=archived)

    def set_read_receipts(self, room: bytes, *, on: bool) -> None:
        """Tell the others of a room what was read from now on, or tell them no longer."""
        self._room(room)
        self.sync.store.set_room_setting(room, READ_RECEIPTS, _YES if on else "")

    def draft(self, room: bytes) -> str:
        """Return what was typed in a room and not sent."""
        return self.sync.store.room_setting(room, DRAFT)

    def set_draft(self, room: bytes, text: str) -> None:
        """Keep what was typed in a room and not sent; an empty text deletes it."""
        self._room(room)
        if len(text.encode(errors="replace")) > MAX_BODY_BYTES:
            raise UsageError(f"a draft has at most {MAX_BODY_BYTES} bytes")
        self.sync.store.set_room_setting(room, DRAFT, text.encode(errors="replace").decode())
