"""Has the rooms of a profile that was restored from a backup rejoin with new keys. Knows no network."""

from __future__ import annotations

from collections.abc import Callable

from clave_client.rooms.epoch_tracker import RESTORED_PART
from clave_client.rooms.loading import load_rooms
from clave_client.rooms.settings_entries import ASKED_PART
from clave_client.store.database import Store
from clave_client.values import Phase

__all__ = ["mark_restored"]


def mark_restored(store: Store, clock: Callable[[], float]) -> list[str]:
    """Note in every room that this device comes from a backup; return one line for each that cannot be used.

    It may have used each of its keys after the backup was made. So it sends nothing in these epochs, nor in
    one that it joins by a key package of the backup, and its key packages are replaced.
    """
    rooms, unusable = load_rooms(store, clock)
    with store.transaction():
        store.put("publications", b"")  # differs from the relay's count
        store.put("restored bundles", b"".join(sorted(store.bundle_references())))
        for record in store.rooms():
            if record.phase in (Phase.INVITED, Phase.JOINED, Phase.LEAVING):  # also one to be opened later
                store.put_part(record.id, RESTORED_PART, b"1")
                store.put_part(record.id, ASKED_PART, None)
        for room in rooms.values():
            with room.changing():
                room.commits.drop()
                room.discard_ciphertexts()
    return [str(error) for error in unusable.values()]
