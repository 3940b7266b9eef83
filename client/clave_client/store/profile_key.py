"""The key of a profile's database: random, in one file, which a passphrase may wrap. Knows no tables.

`key.json` is replaced by rename, so a crash leaves the former or the new one. The key is stored as it is, or
encrypted by AES-256-GCM under a key that Argon2id derives from the passphrase.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from clave_client.errors import (
    NotAFolder,
    PassphraseNeeded,
    ProfileError,
    ProfileExposed,
    ProfileOfOther,
    WrongPassphrase,
)
from clave_client.store.database_copy import copy_database, opens_with, sync_file
from clave_client.store.folders import FORMER_KEY_NAME, FORMER_PASSPHRASE_NAME, KEY_NAME, STORE_NAME
from clave_crypto.keys import Secret
from clave_host.private_files import write_private

__all__ = [
    "KEY_BYTES",
    "AskPassphrase",
    "UnlockedKey",
    "has_passphrase",
    "make_key",
    "settle_key",
    "store_key",
    "unlock_key",
    "unwrap_key",
    "wrap_key",
]

AskPassphrase = Callable[[], str]

KEY_BYTES: Final = 32

_VERSION: Final = 2
_NONCE_BYTES: Final = 12

# RFC 9106, section 4: the second recommended option, for memory-constrained environments.
_ARGON2: Final = {"iterations": 3, "lanes": 4, "memory_cost": 64 * 1024}
_MOST_ITERATIONS: Final = 64
_MOST_MEMORY: Final = 1024 * 1024
"""In KiB."""


class UnlockedKey(NamedTuple):
    """A profile's key, and the passphrase that wraps it, None for none.

    `former` is the key that the database may still have: it was derived from the passphrase by an earlier
    version, and `settle_key` encrypts the database under the random one.
    """

    key: Secret
    passphrase: str | None
    former: Secret | None = None

    def __repr__(self) -> str:
        return "<UnlockedKey>"


def has_passphrase(folder: Path) -> bool:
    """Return whether a passphrase protects the profile in `folder`. Raises `ProfileError`."""
    try:
        if (folder / KEY_NAME).exists():
            return "wrapped" in _read_json(folder / KEY_NAME)
        return (folder / FORMER_PASSPHRASE_NAME).exists()
    except PermissionError:
        raise ProfileOfOther(f"{folder} belongs to another user; run: chown -R $USER {folder}") from None


def unlock_key(folder: Path, ask: AskPassphrase | None) -> UnlockedKey | None:
    """Return the key of the profile in `folder`, None if it has none yet; a passphrase is got by `ask`.

    Raises `WrongPassphrase` and other `ProfileError`s.
    """
    path = folder / KEY_NAME
    if path.exists():
        return _unlock(path, _read_json(path), ask)
    if (folder / FORMER_PASSPHRASE_NAME).exists():
        passphrase = _asked(ask)
        former = _derive(_read_json(folder / FORMER_PASSPHRASE_NAME), passphrase, FORMER_PASSPHRASE_NAME)
        return UnlockedKey(Secret(os.urandom(KEY_BYTES)), passphrase, former)
    if (folder / FORMER_KEY_NAME).exists():
        key = Secret(_read_private(folder / FORMER_KEY_NAME))
        if len(key) != KEY_BYTES:
            raise _damaged(folder / FORMER_KEY_NAME)
        return UnlockedKey(key, None)
    if (folder / STORE_NAME).exists():
        raise WrongPassphrase(f"{path} is missing, and nothing else opens this profile; restore a backup")
    return None


def make_key(folder: Path, ask: AskPassphrase | None) -> UnlockedKey:
    """Make the key of a new profile; what `ask` returns protects it, None for no passphrase."""
    made = UnlockedKey(Secret(os.urandom(KEY_BYTES)), None if ask is None else _asked(ask))
    store_key(folder, made)
    return made


def settle_key(folder: Path, unlocked: UnlockedKey) -> Secret:
    """Return the key that the database in `folder` has; the caller holds the profile's lock.

    Moves what earlier versions stored: a key that was derived from the passphrase gives way to a random one,
    under which the database is encrypted anew. A crash on the way leaves both keys in the file. Raises
    `WrongPassphrase` when the passphrase is another one.
    """
    database = folder / STORE_NAME
    if unlocked.former is not None and database.exists():
        if not opens_with(database, unlocked.key):
            if not opens_with(database, unlocked.former):
                raise WrongPassphrase("that passphrase does not open this profile")
            partial = database.with_name(database.name + ".partial")
            copy_database(database, unlocked.former, partial, unlocked.key)
            store_key(folder, unlocked)
            partial.rename(database)
            sync_file(database)
        store_key(folder, unlocked._replace(former=None))
    elif not (folder / KEY_NAME).exists():
        store_key(folder, unlocked._replace(former=None))
    for name in (FORMER_KEY_NAME, FORMER_PASSPHRASE_NAME):
        (folder / name).unlink(missing_ok=True)
    return unlocked.key


def store_key(folder: Path, unlocked: UnlockedKey) -> None:
    """Replace the file with the profile's key, by rename. Raises `ProfileError`."""
    key = bytes(unlocked.key) + bytes(unlocked.former or b"")
    values: dict[str, Any] = {"version": _VERSION}
    if unlocked.passphrase is None:
        values["key"] = key.hex()
    else:
        values |= wrap_key(key, unlocked.passphrase)
    try:
        write_private(folder / KEY_NAME, json.dumps(values).encode())
    except OSError as error:
        reason = f"{error.strerror}; nothing was changed"
        raise ProfileError(f"cannot write {folder / KEY_NAME}: {reason}") from None


def wrap_key(key: bytes, passphrase: str) -> dict[str, Any]:
    """Return what opens `key` again with the passphrase, as JSON values."""
    if not passphrase:
        raise WrongPassphrase("an empty passphrase protects nothing; type one")
    parameters: dict[str, Any] = {"salt": os.urandom(16).hex(), **_ARGON2}
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(_derive(parameters, passphrase, KEY_NAME)).encrypt(nonce, key, None)
    return {**parameters, "wrapped": (nonce + sealed).hex()}


def unwrap_key(values: dict[str, Any], passphrase: str, name: str) -> Secret:
    """Return the key that `wrap_key` wrapped in the file `name`. Raises `WrongPassphrase`, `ProfileError`."""
    try:
        wrapped = bytes.fromhex(values["wrapped"])
    except (ValueError, KeyError, TypeError):
        raise _damaged(Path(name)) from None
    try:
        cipher = AESGCM(_derive(values, passphrase, name))
        return Secret(cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], None))
    except (InvalidTag, ValueError):
        raise WrongPassphrase("that passphrase is wrong") from None


def _unlock(path: Path, values: dict[str, Any], ask: AskPassphrase | None) -> UnlockedKey:
    if values.get("version") != _VERSION:
        raise ProfileError(f"{path} was written by a newer clave; update this one")
    if "wrapped" in values:
        passphrase = _asked(ask)
        both = unwrap_key(values, passphrase, str(path))
    else:
        passphrase = None
        try:
            both = Secret(bytes.fromhex(values["key"]))
        except (ValueError, KeyError, TypeError):
            raise _damaged(path) from None
    if len(both) not in (KEY_BYTES, 2 * KEY_BYTES):
        raise _damaged(path)
    former = Secret(both[KEY_BYTES:]) if len(both) > KEY_BYTES else None
    return UnlockedKey(Secret(both[:KEY_BYTES]), passphrase, former)


def _asked(ask: AskPassphrase | None) -> str:
    if ask is None:
        raise PassphraseNeeded("this profile has a passphrase")
    passphrase = ask()
    if not passphrase:
        raise WrongPassphrase("an empty passphrase protects nothing; type one")
    return passphrase


def _derive(values: dict[str, Any], passphrase: str, name: str) -> Secret:
    try:
        salt = bytes.fromhex(values["salt"])
        iterations, lanes, memory = (int(values[field]) for field in _ARGON2)
        if iterations > _MOST_ITERATIONS or memory > _MOST_MEMORY:
            raise ValueError("more than any version writes")
        derivation = Argon2id(
            salt=salt, length=KEY_BYTES, iterations=iterations, lanes=lanes, memory_cost=memory
        )
        return Secret(derivation.derive(passphrase.encode()))
    except (ValueError, KeyError, TypeError, OverflowError, MemoryError):
        raise _damaged(Path(name)) from None


def _damaged(path: Path) -> ProfileError:
    return ProfileError(f"{path} is damaged; restore a backup")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(_read_private(path))
    except ValueError:
        raise _damaged(path) from None
    if not isinstance(values, dict):
        raise _damaged(path)
    return values


def _read_private(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except PermissionError:
        raise ProfileOfOther(f"{path} belongs to another user; run: chown $USER {path}") from None
    except OSError as error:
        raise ProfileError(f"cannot read {path}: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise NotAFolder(f"{path} is not a file; move it away")
        if stat.S_IMODE(mode) & 0o077:
            raise ProfileExposed(f"{path} can be read by others; run: chmod 600 {path}")
        return file.read(4096)
