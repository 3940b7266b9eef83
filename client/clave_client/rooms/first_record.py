"""The record of a room that this device begins to be in. Knows no keys."""

from __future__ import annotations

from clave_client.formats.welcome import JoinPoint
from clave_client.rooms.policy import room_title
from clave_client.store.database import RoomRecord, Store
from clave_client.values import ERA_BITS, Phase
from clave_crypto.mls import Group

__all__ = ["first_record"]


def first_record(
    store: Store, group: Group, phase: Phase, join_point: JoinPoint | None, incarnation: bytes
) -> RoomRecord:
    """Return the record of a group that this device made, or joined at `join_point`; it is not stored yet."""
    title = room_title(group)
    # Submission numbers go on where an earlier membership of this device ended.
    known = store.room(group.group_id)
    used, count, era = (0, 0, 0) if known is None else (known.submission, known.count, known.era)
    seen, began = (None, 0) if join_point is None else (join_point.seen, join_point.seq)
    cursor = began if seen is None else seen.seq
    return RoomRecord(
        group.group_id,
        phase,
        title,
        cursor,
        used,
        era << ERA_BITS | cursor if known is None else known.shown,
        count=count,
        began=began,
        legacy=-1 if join_point is not None and seen is None else 0,
        era=era,
        incarnation=incarnation,
    )
