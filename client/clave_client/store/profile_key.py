"""The key of a profile's database: in a file, or derived from a passphrase by Argon2id. Knows no database."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from clave_client.errors import PassphraseNeeded, ProfileError, ProfileExposed, WrongPassphrase
from clave_client.store.folders import PASSPHRASE_NAME
from clave_crypto.keys import Secret
from clave_host.private_files import write_private

__all__ = ["AskPassphrase", "read_key"]

AskPassphrase = Callable[[], str]

_KEY_FILE = "key"

# RFC 9106, section 4: the second recommended option, for memory-constrained environments.
_ARGON2 = {"iterations": 3, "lanes": 4, "memory_cost": 64 * 1024}


def read_key(folder: Path, ask: AskPassphrase | None, *, new_passphrase: bool, has_database: bool) -> Secret:
    """Return the 32-byte key of the database in a profile's `folder`; make it if there is no database yet.

    A profile with a passphrase calls `ask`, as a new one does with `new_passphrase`. Raises `ProfileError`.
    """
    parameters, key_file = folder / PASSPHRASE_NAME, folder / _KEY_FILE
    if parameters.exists():
        return _derive(_read_private(parameters), ask)
    if key_file.exists():
        key = Secret(_read_private(key_file))
        if len(key) != 32:
            raise WrongPassphrase(f"{key_file} does not hold a key of 32 bytes; restore it from your backup")
        return key
    if has_database:
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
