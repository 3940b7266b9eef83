"""Links by which others join a client's rooms by themselves, and joining by one or by an invitation.

A part of `client.Client`.
"""

from __future__ import annotations

from clave_client.client_messages import check_latest
from clave_client.client_roles import ClientRoles
from clave_client.errors import LinkUnusable, RelayFault, UsageError
from clave_client.events import Notice, Person
from clave_client.formats.agreed_state import Role
from clave_client.formats.room_link import MOST_LINKS, MOST_USES, RoomLink
from clave_client.net.join_link import JoinLink
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.policy import MOST_LINK_DEVICES, uses_left
from clave_client.rooms.state_change import StateChange
from clave_client.store.pins import check_inviter
from clave_client.sync.link_joins import RELAY_TOO_OLD
from clave_client.values import LinkInfo, MadeLink, Phase, SeenKey
from clave_crypto.keys import Secret
from clave_wire.text import sanitize

__all__ = ["MAX_LINK_SECONDS", "ClientLinks"]

MAX_LINK_SECONDS = 365 * 86_400
"""The longest time for which a link can be made."""


_WHO = {Role.OWNER: "an owner", Role.ADMIN: "an admin", Role.MEMBER: "a member"}


class ClientLinks(ClientRoles):
    """The links of one profile's rooms; the base of `Client`."""

    async def make_link(self, room: bytes, *, seconds: int, uses: int, seed: bytes | None = None) -> MadeLink:
        """Make a link by which `uses` devices can join a room within `seconds`.

        Whoever has its text can join, so it is not kept. With the same `seed` (16 secret bytes) it is the
        same link again. Raises `UsageError` if the room cannot have one.
        """
        here = self._checked(room, "links")
        if not self.sync.transport.connection.has_links:
            raise RelayFault(RELAY_TOO_OLD)
        connection = self.sync.connection
        given = None if seed is None else Secret(seed)
        link = JoinLink.make(connection.address, connection.trust.link_pin, here.account, given)
        known = here.state.find_link(link.secret.key)
        if known is not None:
            return MadeLink(link.text, known.id, known.not_after, known.uses, counts=True)
        self._check_link(here, seconds, uses)
        _, kem_key = link.secret.kem_keys(here.group.suite)
        not_after = int(self.sync.clock()) + seconds
        made = RoomLink(link.secret.key, kem_key, here.account, not_after, uses)
        counts = await self._change_state(room, StateChange(links=[made]))
        if counts and here.state.find_link(made.key) is None:
            title = here.record.title
            raise UsageError(f"the link to {title} was not made, as the room changed meanwhile; try again")
        return MadeLink(link.text, made.id, not_after, uses, counts)

    def link_text(self, seed: bytes) -> str:
        """Return the text of the link that `make_link` made with a seed."""
        connection, account = self.sync.connection, self.sync.account.verified.account
        return JoinLink.make(connection.address, connection.trust.link_pin, account, Secret(seed)).text

    def _check_link(self, here: LocalRoom, seconds: int, uses: int) -> None:
        """Raise `UsageError` unless a room can have another link like this."""
        title, state = here.record.title, here.state.upgraded()
        if here.direct:
            raise UsageError("nobody else joins a room between two people; open another one")
        if state.role_of(here.account) < state.link:
            raise UsageError(f"only {_WHO[state.link]} may make links in {title}; /invite NAME adds somebody")
        if not 60 <= seconds <= MAX_LINK_SECONDS:
            raise UsageError("a link lives for a minute (60s) to a year (365d)")
        if not 1 <= uses <= MOST_USES:
            raise UsageError(f"a link lets 1 to {MOST_USES} devices in")
        if len(here.state.links) >= MOST_LINKS:
            raise UsageError(f"{title} has {MOST_LINKS} links already; /links lists them, /revoke ends one")
        if len(here.group.members()) >= MOST_LINK_DEVICES:
            raise UsageError(
                f"{title} has {MOST_LINK_DEVICES} devices or more: too many for links; invite by name"
            )
        check_latest(here, "links")

    def links(self, room: bytes) -> list[LinkInfo]:
        """Return the links of a room: who made each, until when, and for how many more devices."""
        here = self._room(room)
        links = here.state.links
        left = uses_left(here.group.members(), {link.key: link.uses for link in links})
        now = self.sync.clock()
        return [
            LinkInfo(
                link.id, here.name_of(link.by), link.not_after, max(0, left[link.key]), link.not_after <= now
            )
            for link in links
        ]

    async def revoke_links(self, room: bytes, which: str) -> bool:
        """Revoke the link whose id begins with `which`, or with "all" every one; return whether that counts.

        Raises `UsageError` if there is none, or several.
        """
        here = self._room(room)
        keys = [
            link.key for link in here.state.links if which == "all" or (which and link.id.startswith(which))
        ]
        if not keys:
            raise UsageError(f"{here.record.title} has no link {sanitize(which)}; /links lists them")
        if len(keys) > 1 and which != "all":
            raise UsageError(f"several links begin with {sanitize(which)}; give more of it")
        return await self._change_state(room, StateChange(ended=keys))

    def note_answer(self, room: bytes, *, accept: bool) -> None:
        """Store the answer to an invitation; `submit_noted` sends it.

        Accepting pins the inviter's name; raises `KeyMismatch` if that is pinned to another key, and
        `UsageError` when there is no open invitation.
        """
        here, inviter = self._room(room), self.inviter(room)
        with self.sync.store.transaction():
            if accept and inviter is not None:
                self._parts.pins.pin(inviter.name, check_inviter(self._parts.pins, inviter))
            if accept:
                here.accept()
                here.note_joint()
                here.enqueue_joined()
            else:
                here.decline()
            here.note_answer("in" if accept else "out")

    async def join_link(self, text: str) -> bytes:
        """Join the room of a link; return its id once the relay has that on disk.

        An open invitation to the room is accepted instead. Others read what is said there once a
        member confirms it. The inviter's name is pinned. Raises `LinkUnusable`, `KeyMismatch` if that
        name is pinned to another key, or `RelayError`.
        """
        link = JoinLink.parse(text)
        if not self.sync.connection.trust.fits_link(link.pin):
            where = f"this link is of another relay, {link.address}, than this profile"
            raise LinkUnusable(f"{where}; join with another: clave join --name NAME LINK")

        def check(inviter: Person) -> None:
            self._parts.pins.check(
                inviter.name,
                SeenKey(inviter.account, "the link"),
                self._parts.people.seen(inviter.name, None),
            )

        room = await self.sync.link_joins.join(link.secret, link.is_of, check)
        joining = room.joining
        if joining is not None:
            inviter = room.name_of(joining.inviter)
            self._parts.pins.pin(inviter, SeenKey(joining.inviter, "the link by which you joined"))
            self.sync.emit(Notice(room.id, f"you joined {room.record.title} by {inviter}'s link"))
        if room.record.phase is Phase.INVITED:
            self.note_answer(room.id, accept=True)
            self.submit_noted(room.id)
        await self.sync.wait_for(lambda: room.synced or self.sync.rooms.get(room.id) is not room)
        return room.id
