"""Where profiles are: a folder for each under one home. Imports little, for commands that start fast."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from clave_client.errors import UsageError

__all__ = [
    "FORMER_KEY_NAME",
    "FORMER_PASSPHRASE_NAME",
    "KEY_NAME",
    "PAIRING_NAME",
    "SOCKET_NAME",
    "STORE_NAME",
    "default_home",
    "profile_folder",
    "profile_names",
]

STORE_NAME: Final = "store.db"
KEY_NAME: Final = "key.json"
FORMER_KEY_NAME: Final = "key"
"""The key as earlier versions stored it, 32 bytes, if the profile had no passphrase."""

FORMER_PASSPHRASE_NAME: Final = "passphrase.json"  # noqa: S105 (a file's name)
"""What earlier versions derived the database's key by, from a passphrase."""

PAIRING_NAME: Final = "pairing"
"""A file in a profile's folder as long as its device is being paired: if that breaks off, it is of no use."""

SOCKET_NAME: Final = "socket"
"""The name of the socket in a profile's folder, at which its owner listens."""


def default_home() -> Path:
    """Return the folder that holds all profiles: `$CLAVE_HOME`, else the platform's data folder.

    Raises `UsageError` for a user without a home folder.
    """
    chosen = os.environ.get("CLAVE_HOME")
    if chosen:
        return Path(chosen)
    import platformdirs  # here, as it is rarely needed

    try:
        return Path(platformdirs.user_data_dir("clave", appauthor=False))
    except RuntimeError:  # no HOME, and no entry in the system's list of users
        raise UsageError("this user has no home folder; say where profiles are with --home DIR") from None


def profile_folder(home: Path, name: str) -> Path:
    """Return the folder of the profile `name`."""
    return home / "profiles" / name


def profile_names(home: Path) -> list[str]:
    """Return the names of the profiles under `home`, sorted."""
    folder = home / "profiles"
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / STORE_NAME).exists())
