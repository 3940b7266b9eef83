"""The state that a room's members agree on: what it is called, who has which role, what a role may do.

A private-use GroupContext extension holds it (RFC 9420, section 13.4), so it changes by commits that every
member checks (`rooms.state_rules`); the relay never sees it. Knows no group.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec

from clave_client.errors import PeerError, UsageError
from clave_client.formats.former_state import (
    FORMER_STATE_EXTENSION,
    MAX_TITLE,
    AccountKey,
    FormerRole,
    FormerState,
    decode_former_state,
)
from clave_client.formats.room_link import LINK_EXTENSION, MOST_LINKS, RoomLink
from clave_wire.framing import DECODE_ERRORS

__all__ = [
    "AGREED_STATE_EXTENSION",
    "EXTENSION_TYPES",
    "MAX_EXPIRY_SECONDS",
    "MAX_TOPIC",
    "MOST_BANS",
    "MOST_PINNED",
    "POLICIES",
    "AgreedState",
    "Role",
    "decode_state",
    "parse_role",
]

AGREED_STATE_EXTENSION: Final = 0xF0C2
"""The extension's type; 0xF000 to 0xFFFF are for private use (RFC 9420, section 17.3).

A leaf that lists it reads MIMI content too.
"""

EXTENSION_TYPES: Final = (FORMER_STATE_EXTENSION, AGREED_STATE_EXTENSION, LINK_EXTENSION)
"""What the leaves of this version list."""

MAX_EXPIRY_SECONDS: Final = 365 * 86_400
"""The longest time after which messages disappear (draft-ietf-mimi-content-08, security considerations)."""

MAX_TOPIC: Final = 300
"""Most characters of a topic."""

MOST_PINNED: Final = 20
"""Most pinned messages of a room."""

MOST_BANS: Final = 200
"""Most banned accounts of a room; each has 32 bytes in every welcome."""

_MOST_ROLES: Final = 1000


class Role(enum.IntEnum):
    """What an account is in a room; each may do what those before it may. The numbers are stored."""

    GUEST = 1
    MEMBER = 2
    ADMIN = 3
    OWNER = 4

    @property
    def word(self) -> str:
        """The role in a word."""
        return self.name.lower()


MessageId = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Accounts = Annotated[list[AccountKey], msgspec.Meta(max_length=_MOST_ROLES)]


def parse_role(word: str) -> Role:
    """Return the role of a word. Raises `UsageError`."""
    for role in Role:
        if role.word == word:
            return role
    raise UsageError("say which role: owner, admin, member or guest")


POLICIES: Final = {
    "add": "add people",
    "remove": "remove people",
    "edit": "change the title, the topic or when messages disappear",
    "link": "make links to join by",
    "pin": "pin messages",
}
"""What takes a role that the state names, and what it is in words."""


class AgreedState(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The agreed state. All lists are of account keys, sorted, each in one list at most.

    Who is in none of `owners`, `admins` and `guests` is a member. `banned` accounts cannot be added. `add`,
    `remove` and `edit` are the roles that this takes. New messages disappear `expiry` seconds after they were
    read, 0 for never. `direct` are the accounts of a room between two people or of one's own notes, empty for
    others. `version` is 1 for what a `FormerState` says: its admins are admins here, and there are no owners.

    `links` are those to join by, by key, and `link` is the role that making one takes; `pinned` are the ids
    of messages, and `pin` is the role that pinning one takes. Only a group in which one of these four is not
    as at first has them, in `LINK_EXTENSION`.
    """

    version: Annotated[int, msgspec.Meta(ge=2, le=2)]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TITLE)]
    topic: Annotated[str, msgspec.Meta(max_length=MAX_TOPIC)] = ""
    owners: _Accounts = []
    admins: _Accounts = []
    guests: _Accounts = []
    banned: Annotated[list[AccountKey], msgspec.Meta(max_length=MOST_BANS)] = []
    add: Role = Role.MEMBER
    remove: Role = Role.ADMIN
    edit: Role = Role.ADMIN
    expiry: Annotated[int, msgspec.Meta(ge=0, le=MAX_EXPIRY_SECONDS)] = 0
    direct: Annotated[list[AccountKey], msgspec.Meta(max_length=2)] = []
    link: Role = Role.ADMIN
    links: Annotated[list[RoomLink], msgspec.Meta(max_length=MOST_LINKS)] = []
    pin: Role = Role.ADMIN
    pinned: Annotated[list[MessageId], msgspec.Meta(max_length=MOST_PINNED)] = []

    @property
    def is_former(self) -> bool:
        """Whether members of earlier versions can be in the room."""
        return self.version == 1

    def extension(self) -> tuple[int, bytes]:
        """Return the type and the data of the extension that holds this state."""
        if self.needs_latest:
            return LINK_EXTENSION, _encoder.encode(self)
        if not self.is_former:
            return AGREED_STATE_EXTENSION, _encoder.encode(
                msgspec.structs.astuple(self)[:_FIELDS_WITHOUT_LINKS]
            )
        roles = [
            FormerRole.MEMBER if each is Role.MEMBER else FormerRole.ADMIN
            for each in (self.add, self.remove, self.edit)
        ]
        return FORMER_STATE_EXTENSION, FormerState(1, self.title, self.admins, *roles).encode()

    @property
    def needs_latest(self) -> bool:
        """Whether all members have to know links and pinned messages."""
        policies = self.link, self.pin
        return bool(self.links or self.pinned) or policies != (Role.ADMIN, Role.ADMIN)

    def find_link(self, key: bytes) -> RoomLink | None:
        """Return the link with a key."""
        return next((link for link in self.links if link.key == key), None)

    def role_of(self, account: bytes) -> Role:
        """Return the role of an account that is in the room."""
        if account in self.owners:
            return Role.OWNER
        if account in self.admins:
            return Role.ADMIN
        return Role.GUEST if account in self.guests else Role.MEMBER

    def with_role(self, account: bytes, role: Role) -> AgreedState:
        """Return the state in which an account has another role."""
        lists = {}
        for name, listed in (("owners", Role.OWNER), ("admins", Role.ADMIN), ("guests", Role.GUEST)):
            others = [each for each in getattr(self, name) if each != account]
            lists[name] = sorted([*others, account]) if listed is role else others
        return msgspec.structs.replace(self, **lists)

    def upgraded(self) -> AgreedState:
        """Return what a former state becomes in a room whose members all know more: its admins are owners."""
        if not self.is_former:
            return self
        return msgspec.structs.replace(self, version=2, owners=self.admins, admins=[])

    def without_uses(self, left: Mapping[bytes, int]) -> AgreedState:
        """Return the state once as many leaves as `left` says, by key, that name a link have left.

        So nobody can join again in their place.
        """
        lower = {link.key: link.uses - left.get(link.key, 0) for link in self.links}
        links = [
            msgspec.structs.replace(link, uses=lower[link.key]) for link in self.links if lower[link.key] > 0
        ]
        return msgspec.structs.replace(self, links=links)

    def settled(self, accounts: Sequence[bytes]) -> AgreedState:
        """Return the state as it is once just `accounts`, in the order of their leaves, are in the room.

        Who is not there has no role; if no owner is left, the first admin becomes one, or else the first
        member, or guest. A room between two people keeps the role of who has not come yet. A link ends with
        whoever made it, or with its role to make links.
        """
        if self.is_former:
            return self
        here = {*accounts, *self.direct}
        lists = {
            name: [each for each in getattr(self, name) if each in here]
            for name in ("owners", "admins", "guests")
        }
        state = msgspec.structs.replace(self, **lists)
        if accounts and not state.owners:
            heir = max(accounts, key=state.role_of)  # the first one of the highest role
            state = state.with_role(heir, Role.OWNER)
        live = [link for link in state.links if link.by in here and state.role_of(link.by) >= state.link]
        return msgspec.structs.replace(state, links=live)

    def inherited(self, accounts: Sequence[bytes]) -> AgreedState:
        """Return what a former state becomes once none of its admins is among `accounts`, as in `settled`.

        All of them have to know the other state; else it stays as it is.
        """
        if not self.is_former or not {*accounts}.isdisjoint(self.admins):
            return self
        return self.upgraded().settled(accounts)

    def check(self) -> None:
        """Raise `PeerError` unless all lists are in their one valid form."""
        lists = (self.owners, self.admins, self.guests, self.banned, self.direct, self.pinned)
        if any(sorted(set(each)) != each for each in lists):
            raise PeerError("the room's agreed state is not in its one valid form")
        if Role.GUEST in (self.add, self.remove, self.edit, self.link, self.pin):
            raise PeerError("the room's agreed state lets guests change it")
        with_role = [*self.owners, *self.admins, *self.guests]
        if len(set(with_role)) != len(with_role) or not self.owners:
            raise PeerError("the room's agreed state gives an account two roles, or has no owner")
        others = (self.admins, self.guests, self.banned, self.links)
        if self.direct and (self.owners, *others) != (self.direct, [], [], [], []):
            raise PeerError("in a room between two people both are owners")
        keys = [link.key for link in self.links]
        if sorted(set(keys)) != keys:
            raise PeerError("the room's agreed state is not in its one valid form")


_FIELDS_WITHOUT_LINKS: Final = AgreedState.__struct_fields__.index("link")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AgreedState)


def decode_state(kind: int, data: bytes) -> AgreedState:
    """Parse the data of the extension `kind`, of either version.

    Raises `PeerError` unless it is the canonical encoding of a valid state.
    """
    if kind == FORMER_STATE_EXTENSION:
        former = decode_former_state(data)
        roles = [
            Role.MEMBER if each is FormerRole.MEMBER else Role.ADMIN
            for each in (former.add, former.remove, former.edit)
        ]
        add, remove, edit = roles
        return AgreedState(1, former.title, admins=former.admins, add=add, remove=remove, edit=edit)
    try:
        state = _decoder.decode(data)
    except DECODE_ERRORS as error:
        raise PeerError(f"the room's agreed state cannot be read ({error})") from None
    if state.extension() != (kind, data):
        raise PeerError("the room's agreed state is not in its one valid form")
    state.check()
    return state
