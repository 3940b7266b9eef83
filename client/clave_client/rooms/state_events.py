"""Tells as events what a commit changed of a room's agreed state. Knows no log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from clave_client import events
from clave_client.events import Event, LinkEnd, Person
from clave_client.formats.agreed_state import AgreedState
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.state_change import StateChange
from clave_client.store.message_tables import HistoryLine
from clave_wire.text import sanitize

__all__ = ["Departed", "state_events"]


class Departed(NamedTuple):
    """Whether a commit took out somebody who was removed, and somebody who had left."""

    removed: bool
    left: bool


def state_events(
    room: LocalRoom,
    before: AgreedState,
    title: str,
    author: Person,
    gone: Departed,
    find: Callable[[bytes], HistoryLine | None],
) -> Iterator[Event]:
    """Yield what is different in `room`, whose state was `before`, after a commit of `author`.

    `title` is what the room is called now; `gone` says who is not there any more; `find` finds messages.
    """
    after = room.state
    if after == before:
        return
    accounts = [member.account for _, member in sorted(room.roster.members().items())]
    base = before if after.is_former else before.upgraded()
    change = StateChange.between(base, after)
    if change.title:
        yield events.RoomChanged(room.id, title, author)
    if change.topic is not None:
        yield events.TopicChanged(room.id, sanitize(change.topic), author)
    if change.expiry >= 0:
        yield events.SettingsChanged(room.id, change.expiry, author)
    inherited = base.settled(accounts).owners
    for account, role in change.roles.items():
        if account in accounts:
            is_heir = account in inherited and account not in base.owners
            by = None if is_heir else author
            yield events.RoleChanged(room.id, account, room.roster.names[account], role.word, by)
    for action, role in change.policies.items():
        yield events.PolicyChanged(room.id, action, role.word, author)
    if change.links:
        yield events.LinksChanged(room.id, len(change.links), 0, None, author)
    if change.ended:
        why = _why_links_ended(room, base, change.ended, gone)
        yield events.LinksChanged(room.id, 0, len(change.ended), why, author)
    for message in [*change.pinned, *change.unpinned]:
        line = find(message)
        seq, name = (0, "") if line is None else (line.seq, line.name)
        yield events.PinChanged(room.id, message, seq, name, message in change.pinned, author)
    for account in [*change.banned, *change.unbanned]:
        yield events.BanChanged(
            room.id, account, room.name_of_banned(account), account in change.banned, author
        )


def _why_links_ended(room: LocalRoom, base: AgreedState, keys: list[bytes], gone: Departed) -> LinkEnd:
    if gone.removed:
        return LinkEnd.REMOVAL
    ended, after = [link for link in base.links if link.key in keys], room.state
    if not any(link.by in room.roster.accounts and after.role_of(link.by) >= after.link for link in ended):
        return LinkEnd.MAKER
    if all(link.not_after <= room.clock() for link in ended):
        return LinkEnd.EXPIRED
    return LinkEnd.USED_UP if gone.left else LinkEnd.REVOKED
