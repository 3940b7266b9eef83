"""A profile: the folder with one user's keys and history, opened by one process at a time.

Knows permissions and the lock, not what the database holds; its key is in `profile_key`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Self

from clave_client.errors import (
    NotAFolder,
    ProfileError,
    ProfileExposed,
    ProfileLocked,
    ProfileNotFound,
    ProfileOfOther,
    UsageError,
)
from clave_client.store.file_systems import network_file_system
from clave_client.store.folders import (
    FORMER_KEY_NAME,
    FORMER_PASSPHRASE_NAME,
    KEY_NAME,
    PAIRING_NAME,
    SOCKET_NAME,
    STORE_NAME,
    profile_folder,
)
from clave_client.store.profile_key import (
    AskPassphrase,
    UnlockedKey,
    has_passphrase,
    make_key,
    settle_key,
    store_key,
    unlock_key,
)
from clave_crypto.keys import Secret
from clave_host.private_files import FolderFault, find_fault, is_locked, take_lock
from clave_wire.errors import BadName
from clave_wire.text import check_name

__all__ = ["Profile", "check_disk", "make_private"]

_LOCK_FILE = "lock"

_FILES = (
    *(f"{name}*" for name in (KEY_NAME, FORMER_PASSPHRASE_NAME)),
    *(FORMER_KEY_NAME, f"{STORE_NAME}*", SOCKET_NAME, PAIRING_NAME, "clave-crash-*.txt", _LOCK_FILE),
)
"""Patterns of all files of a profile; the keys come first."""


class Profile:
    """The profile `name` under `home`. Use it as a context manager: entering opens and locks it.

    Constructing it only checks the name; raises `UsageError` for one that nobody can have. A new profile's
    key is stored in a file that only its owner can read, with `new_passphrase` encrypted by what `ask`
    returns; an existing profile with a passphrase calls `ask` too.
    """

    def __init__(
        self, home: Path, name: str, *, ask: AskPassphrase | None = None, new_passphrase: bool = False
    ) -> None:
        try:
            check_name(name)  # so that it names a folder in that of all profiles, and nothing else
        except BadName as error:
            raise UsageError(str(error)) from None
        self.folder = profile_folder(home, name)
        self.name = name
        self.store_path = self.folder / STORE_NAME
        self._home = home
        self._ask = ask
        self._new_passphrase = new_passphrase
        self._key: Secret | None = None
        self._lock: int | None = None

    def __repr__(self) -> str:
        return f"Profile({self.name!r})"

    def open(self) -> Self:
        """Lock the profile and read its key; create it if it does not exist. Return the profile.

        Raises `ProfileExposed` if others can read the folder, `ProfileLocked` if another process has it open,
        `WrongPassphrase` if the key is missing, and `ProfileError` if the folder is no profile.
        """
        self._make_folders()
        path = self.folder / _LOCK_FILE
        if self._is_locked(path):
            raise self.locked_error()
        # Asked for before the lock is taken, so that nobody waits for whoever does not answer.
        unlocked = unlock_key(self.folder, self._ask) if self.has_passphrase else None
        lock = self._take_lock(path)
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            unlocked = unlocked or unlock_key(self.folder, self._ask) or self._make_key()
            self._key = settle_key(self.folder, unlocked)
        except OSError as error:
            os.close(lock)
            raise ProfileError(f"cannot write in {self.folder}: {error.strerror}") from None
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        return self

    def _make_folders(self) -> None:
        check_disk(self._home)
        for level in (self._home, self.folder.parent, self.folder):
            make_private(level)

    def _is_locked(self, path: Path) -> bool:
        try:
            return path.exists() and is_locked(path)
        except OSError as error:
            raise ProfileError(f"cannot write in {self.folder}: {error.strerror}") from None

    def _take_lock(self, path: Path) -> int:
        try:
            lock = take_lock(path)
        except OSError as error:
            raise ProfileError(f"cannot write in {self.folder}: {error.strerror}") from None
        if lock is None:
            raise self.locked_error()
        return lock

    def _make_key(self) -> UnlockedKey:
        return make_key(self.folder, self._ask if self._new_passphrase else None)

    def change_passphrase(self, new: AskPassphrase | None) -> None:
        """Have what `new` returns protect the profile from now on, None for nothing; others may have it open.

        Raises `UsageError` if there is no such profile, `WrongPassphrase`, and other `ProfileError`s.
        """
        unlocked = self._unlock()
        store_key(self.folder, unlocked._replace(passphrase=None if new is None else new()))

    def read_key(self) -> Secret:
        """Return the key of the database, which another process may have open.

        Raises `ProfileNotFound`, `WrongPassphrase`, and other `ProfileError`s.
        """
        return self._unlock().key

    def _unlock(self) -> UnlockedKey:
        """Return the key of an existing profile; what an earlier version stored is moved, under the lock."""
        if not self.has_store:
            raise ProfileNotFound(self.name)
        unlocked = unlock_key(self.folder, self._ask)
        if unlocked is None or unlocked.former is not None or not (self.folder / KEY_NAME).exists():
            if unlocked is not None and unlocked.passphrase is not None:
                self.give_passphrase(unlocked.passphrase)
            with self:
                unlocked = unlocked and unlocked._replace(key=self.take_key(), former=None)
        if unlocked is None:
            raise ProfileError(f"the profile {self.name} has no key; restore a backup")
        return unlocked

    def locked_error(self) -> ProfileLocked:
        """Return the error that says which process holds the profile."""
        path = self.folder / _LOCK_FILE
        return ProfileLocked(self.name, _holder(path) if self._is_locked(path) else 0)

    @property
    def last_holder(self) -> int:
        """The number of the process that took the profile last; 0 if it is not known."""
        return _holder(self.folder / _LOCK_FILE)

    def give_passphrase(self, passphrase: str) -> None:
        """Use this passphrase in place of asking for it."""
        self._ask = lambda: passphrase

    @property
    def has_passphrase(self) -> bool:
        """Whether a passphrase protects the profile."""
        return has_passphrase(self.folder)

    @property
    def is_unpaired(self) -> bool:
        """Whether this is what a pairing has left that was killed: a device that nobody counts as one."""
        return (self.folder / PAIRING_NAME).exists()

    def note_pairing(self, *, done: bool) -> None:
        """Note that the profile's device is being paired, or is `done` with that.

        It need not be open, or exist: so that whatever making it leaves behind is known for what it is.
        """
        try:
            if done:
                (self.folder / PAIRING_NAME).unlink()
            else:
                self._make_folders()
                (self.folder / PAIRING_NAME).touch(mode=0o600)
        except OSError as error:
            raise ProfileError(f"cannot write in {self.folder}: {error.strerror}") from None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the profile's lock."""
        return self._lock is not None

    @property
    def has_store(self) -> bool:
        """Whether the profile has a database: a new one gets it when a client first opens it."""
        return self.store_path.exists()

    def take_key(self) -> Secret:
        """Return the database key, once; the profile forgets it."""
        if self._key is None:
            raise ProfileError("open the profile first; its key is read once each time it is opened")
        key, self._key = self._key, None
        return key

    def close(self) -> None:
        """Release the lock. Closing twice does nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Delete the profile's folder and close it."""
        shutil.rmtree(self.folder)
        self.close()

    def erase(self) -> None:
        """Delete the profile's files, its key first, without opening it; files of others stay.

        Raises `ProfileNotFound`, `ProfileExposed` for a folder that is no profile's, `UsageError` while a
        process has it open, and `ProfileError`.
        """
        if not self.folder.exists():
            raise ProfileNotFound(self.name)
        make_private(self.folder)
        if self._is_locked(self.folder / _LOCK_FILE):
            process = _holder(self.folder / _LOCK_FILE)
            raise UsageError(f"process {process} has the profile open; end it first, nothing was deleted")
        lock = self._take_lock(self.folder / _LOCK_FILE)
        try:
            for pattern in _FILES:
                for path in self.folder.glob(pattern):
                    path.unlink()
            left = sorted(path.name for path in self.folder.iterdir())
            if left:
                raise ProfileError(
                    f"the profile is erased; what is not its own stays in {self.folder}: {left[0]}"
                )
            self.folder.rmdir()
        except OSError as error:
            raise ProfileError(f"cannot erase {self.folder}: {error.strerror}") from None
        finally:
            os.close(lock)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()


def check_disk(home: Path) -> None:
    """Raise `ProfileError` if profiles cannot be kept where `home` is."""
    if (kind := network_file_system(home)) is not None:
        raise ProfileError(
            f"{home} is on a network disk ({kind}), where a database can be damaged;"
            " set CLAVE_HOME to a folder on this machine"
        )


def make_private(folder: Path) -> None:
    """Create `folder` with mode 0700, or check that an existing one is accessible to its owner only."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        pass
    except OSError as error:
        raise ProfileError(f"cannot make {folder}: {error.strerror}") from None
    match find_fault(folder):
        case FolderFault.SYMLINK:
            raise ProfileExposed(f"{folder} is a symbolic link; profiles must lie in a real folder of yours")
        case FolderFault.NOT_A_FOLDER:
            raise NotAFolder(f"{folder} is not a folder; move it away")
        case FolderFault.OTHER_OWNER:
            raise ProfileOfOther(f"{folder} belongs to another user; run: chown -R $USER {folder}")
        case FolderFault.OPEN_TO_OTHERS:
            raise ProfileExposed(f"{folder} can be read by others; run: chmod 700 {folder}")


def _holder(path: Path) -> int:
    """Return the number of the process that holds a lock, as it noted it; 0 if it is not known."""
    try:
        return int(path.read_bytes()[:20])
    except (OSError, ValueError):
        return 0
