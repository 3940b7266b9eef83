"""Makes a profile again from a backup. Connects to nothing.

The profile is made in a folder beside the others, and renamed when it is complete.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from clave_client.errors import ProfileError, StoreDamaged, UsageError
from clave_client.rooms.restoring import mark_restored
from clave_client.store.account import Account
from clave_client.store.backup import extract_backup
from clave_client.store.database import Store
from clave_client.store.database_copy import copy_database
from clave_client.store.folders import STORE_NAME, profile_folder
from clave_client.store.profile import Profile, check_disk, make_private
from clave_client.store.profile_key import KEY_BYTES, AskPassphrase, UnlockedKey, store_key
from clave_client.values import Phase
from clave_crypto.keys import Secret
from clave_host.private_files import is_locked, take_lock

__all__ = ["Restored", "restore_profile"]


_PREFIX = ".restoring-"
"""What the folders of profiles begin with that are not complete."""


class Restored(NamedTuple):
    """What was restored: the profile's name, the titles of its rooms, and one line for each unusable room."""

    name: str
    rooms: list[str]
    unusable: list[str]

    def __repr__(self) -> str:
        return f"<Restored {self.name!r}, {len(self.rooms)} rooms>"


def restore_profile(
    file: Path,
    passphrase: str,
    home: Path,
    *,
    new_passphrase: AskPassphrase | None,
    clock: Callable[[], float],
) -> Restored:
    """Make the profile that the backup `file` holds, under `home`.

    What `new_passphrase` returns protects it, if given. Raises `UsageError` if there is a profile of that
    name, or `file` is no backup, `WrongPassphrase`, and `ProfileError`.
    """
    profiles = profile_folder(home, "x").parent
    check_disk(home)
    for level in (home, profiles):
        make_private(level)
    _sweep(home)
    making = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=home))
    lock = take_lock(making / "lock")
    try:
        extracted, database = making / "extracted.db", making / STORE_NAME
        former = extract_backup(file, passphrase, extracted)
        key = Secret(os.urandom(KEY_BYTES))
        copy_database(extracted, former, database, key)
        extracted.unlink()
        store = Store(database, key)
        try:
            if store.get("identity") is None:
                raise StoreDamaged(f"{file} holds no account; take another backup")
            name = Account.load_or_create(store, "").name
            folder = Profile(home, name).folder
            taken = UsageError(f"there is a profile {name} here already; choose another --home")
            if folder.exists():
                raise taken
            unusable = mark_restored(store, clock)
            rooms = [
                record.title for record in store.rooms() if record.phase in (Phase.JOINED, Phase.INVITED)
            ]
        finally:
            store.close()
        chosen = None if new_passphrase is None else new_passphrase()
        if chosen == "":
            raise UsageError("an empty passphrase protects nothing; choose one")
        store_key(making, UnlockedKey(key, chosen))
        try:
            making.rename(folder)
        except OSError:
            if folder.exists():  # made while a question was open
                raise taken from None
            raise
    except OSError as error:
        raise ProfileError(f"cannot restore to {home}: {error.strerror}; nothing was changed") from None
    finally:
        shutil.rmtree(making, ignore_errors=True)
        if lock is not None:
            os.close(lock)
    return Restored(name, rooms, unusable)


def _sweep(home: Path) -> None:
    """Delete what a restore that was killed has left, which holds a key."""
    for folder in home.glob(f"{_PREFIX}*"):
        lock = folder / "lock"
        with contextlib.suppress(OSError):
            if lock.exists() and not is_locked(lock):
                shutil.rmtree(folder)
