"""A profile: the folder with one user's keys and history, opened by one process at a time.

Knows permissions, the lock and how the database key is stored; not what the database holds.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Self

import platformdirs
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from clave_client.errors import (
    NotAFolder,
    PassphraseNeeded,
    ProfileError,
    ProfileExposed,
    ProfileLocked,
    ProfileOfOther,
    UsageError,
    WrongPassphrase,
)
from clave_crypto.keys import Secret
from clave_host.private_files import FolderFault, find_fault, take_lock, write_private
from clave_wire.errors import BadName
from clave_wire.text import check_name

__all__ = ["Profile", "default_home", "profile_names"]

AskPassphrase = Callable[[], str]

_KEY_FILE = "key"
_PASSPHRASE_FILE = "passphrase.json"  # noqa: S105 (a file's name)
_LOCK_FILE = "lock"
_STORE_FILE = "store.db"

# RFC 9106, section 4: the second recommended option, for memory-constrained environments.
_ARGON2 = {"iterations": 3, "lanes": 4, "memory_cost": 64 * 1024}


def default_home() -> Path:
    """Return the folder that holds all profiles: `$CLAVE_HOME`, else the platform's data folder."""
    chosen = os.environ.get("CLAVE_HOME")
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("clave", appauthor=False))


def profile_names(home: Path) -> list[str]:
    """Return the names of the profiles under `home`, sorted."""
    folder = home / "profiles"
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / _STORE_FILE).exists())


class Profile:
    """The profile `name` under `home`. Use it as a context manager: entering opens and locks it.

    Constructing it does nothing. A new profile's key is stored in a file that only its owner can read, or
    with `new_passphrase` derived from what `ask` returns (Argon2id); an existing profile with a passphrase
    calls `ask` too.
    """

    def __init__(
        self, home: Path, name: str, *, ask: AskPassphrase | None = None, new_passphrase: bool = False
    ) -> None:
        self.folder = home / "profiles" / name
        self.name = name
        self.store_path = self.folder / _STORE_FILE
        self._home = home
        self._ask = ask
        self._new_passphrase = new_passphrase
        self._key: Secret | None = None
        self._lock: int | None = None

    def __repr__(self) -> str:
        return f"Profile({self.name!r})"

    def open(self) -> Self:
        """Lock the profile and read its key; create it if it does not exist. Return the profile.

        Raises `UsageError` for an invalid name, `ProfileExposed` if others can read the folder,
        `ProfileLocked` if another process has it open, `WrongPassphrase` if the key is missing, and
        `ProfileError` if the folder is no profile.
        """
        try:
            check_name(self.name)
        except BadName as error:
            raise UsageError(str(error)) from None
        for level in (self._home, self.folder.parent, self.folder):
            _make_private(level)
        lock = _take_lock(self.folder / _LOCK_FILE, self.name)
        try:
            self._key = _read_key(self.folder, self._ask, new_passphrase=self._new_passphrase)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        return self

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

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_private(folder: Path) -> None:
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
            raise ProfileOfOther(f"{folder} belongs to another user")
        case FolderFault.OPEN_TO_OTHERS:
            raise ProfileExposed(f"{folder} can be read by others; run: chmod 700 {folder}")


def _take_lock(path: Path, name: str) -> int:
    lock = take_lock(path)
    if lock is None:
        raise ProfileLocked(f"profile {name} is open in another clave; close that one first")
    return lock


def _read_key(folder: Path, ask: AskPassphrase | None, *, new_passphrase: bool) -> Secret:
    parameters, key_file = folder / _PASSPHRASE_FILE, folder / _KEY_FILE
    if parameters.exists():
        return _derive(_read_private(parameters), ask)
    if key_file.exists():
        key = Secret(_read_private(key_file))
        if len(key) != 32:
            raise WrongPassphrase(f"{key_file} does not hold a key of 32 bytes; restore it from your backup")
        return key
    if (folder / _STORE_FILE).exists():
        raise WrongPassphrase(f"{key_file} is missing; restore it from your backup")
    if new_passphrase:
        fresh = json.dumps({"version": 1, "salt": os.urandom(16).hex(), **_ARGON2}).encode()
        key = _derive(fresh, ask)
        write_private(parameters, fresh)
        return key
    key = Secret(os.urandom(32))
    write_private(key_file, key)
    return key


def _derive(parameters: bytes, ask: AskPassphrase | None) -> Secret:
    if ask is None:
        raise PassphraseNeeded("this profile has a passphrase")
    try:
        values = json.loads(parameters)
        salt = bytes.fromhex(values["salt"])
        iterations, lanes, memory = (int(values[name]) for name in _ARGON2)
        derivation = Argon2id(salt=salt, length=32, iterations=iterations, lanes=lanes, memory_cost=memory)
    except (ValueError, KeyError, TypeError, OverflowError):
        raise ProfileError("the profile's passphrase.json is damaged; restore it from your backup") from None
    passphrase = ask().encode()
    if not passphrase:
        raise WrongPassphrase("an empty passphrase protects nothing; type one")
    return Secret(derivation.derive(passphrase))


def _read_private(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ProfileError(f"cannot read {path}: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        if stat.S_IMODE(os.fstat(handle).st_mode) & 0o077:
            raise ProfileExposed(f"{path} can be read by others; run: chmod 600 {path}")
        return file.read(4096)
