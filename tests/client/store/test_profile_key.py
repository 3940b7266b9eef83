"""The key of a profile's database: random, wrapped by a passphrase, and never lost by a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from clave_client.errors import ProfileError, ProfileNotFound, WrongPassphrase
from clave_client.store import profile_key
from clave_client.store.database import Store
from clave_client.store.database_copy import copy_database
from clave_client.store.profile import Profile
from clave_crypto.keys import Secret

FORMER_ARGON2 = {"iterations": 1, "lanes": 1, "memory_cost": 64}
WRAPPED = {"version": 2, "wrapped": "00" * 60, "salt": "00" * 16} | FORMER_ARGON2


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derive keys in little time."""
    monkeypatch.setattr(profile_key, "_ARGON2", FORMER_ARGON2)


def open_it(home: Path, passphrase: str | None = None, *, new: bool = False) -> str:
    """Open the profile and its database; return what is stored there."""
    ask = None if passphrase is None else lambda: passphrase
    with Profile(home, "red", ask=ask, new_passphrase=new) as profile:
        fresh = not profile.has_store
        store = Store(profile.store_path, profile.take_key())
        if fresh:
            store.put("word", b"kept")
        word = (store.get("word") or b"").decode()
        store.close()
    return word


def in_folder(home: Path) -> set[str]:
    return {path.name for path in (home / "profiles/red").iterdir()}


def former_profile(home: Path, passphrase: str) -> None:
    """Make a profile as the version before stored it: the key is derived from the passphrase."""
    open_it(home)
    folder = home / "profiles/red"
    key = Secret(bytes.fromhex(json.loads((folder / "key.json").read_text())["key"]))
    salt = os.urandom(16)
    derivation = Argon2id(salt=salt, length=32, iterations=1, lanes=1, memory_cost=64)
    derived = Secret(derivation.derive(passphrase.encode()))
    copy_database(folder / "store.db", key, folder / "copy", derived)
    (folder / "copy").rename(folder / "store.db")
    (folder / "key.json").unlink()
    parameters = folder / "passphrase.json"
    parameters.write_text(json.dumps({"version": 1, "salt": salt.hex(), **FORMER_ARGON2}))
    parameters.chmod(0o600)


def test_a_passphrase_wraps_a_random_key(tmp_path: Path) -> None:
    assert open_it(tmp_path, "correct horse", new=True) == "kept"
    assert open_it(tmp_path, "correct horse") == "kept"
    with pytest.raises(WrongPassphrase, match="that passphrase is wrong"):
        open_it(tmp_path, "wrong horse")
    assert "key" not in json.loads((tmp_path / "profiles/red/key.json").read_text())


def test_an_empty_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongPassphrase, match="empty"):
        open_it(tmp_path, "", new=True)


def test_a_passphrase_is_set_changed_and_removed_while_others_use_the_profile(tmp_path: Path) -> None:
    open_it(tmp_path)
    with Profile(tmp_path, "red") as owner:
        store = Store(owner.store_path, owner.take_key())
        Profile(tmp_path, "red").change_passphrase(lambda: "first")
        Profile(tmp_path, "red", ask=lambda: "first").change_passphrase(lambda: "second")
        store.put("word", b"changed meanwhile")
        store.close()
    for wrong in ("first", "x"):
        with pytest.raises(WrongPassphrase):
            open_it(tmp_path, wrong)
    assert open_it(tmp_path, "second") == "changed meanwhile"
    with pytest.raises(WrongPassphrase):
        Profile(tmp_path, "red", ask=lambda: "first").change_passphrase(None)
    Profile(tmp_path, "red", ask=lambda: "second").change_passphrase(None)
    assert open_it(tmp_path) == "changed meanwhile"
    with pytest.raises(ProfileNotFound):
        Profile(tmp_path, "blue").change_passphrase(lambda: "x")


def test_a_plain_key_of_the_version_before_is_moved_over(tmp_path: Path) -> None:
    open_it(tmp_path)
    folder = tmp_path / "profiles/red"
    key = bytes.fromhex(json.loads((folder / "key.json").read_text())["key"])
    (folder / "key").write_bytes(key)
    (folder / "key").chmod(0o600)
    (folder / "key.json").unlink()
    assert open_it(tmp_path) == "kept"
    assert "key" not in in_folder(tmp_path)
    (folder / "key").write_bytes(key)
    (folder / "key").chmod(0o600)
    (folder / "key.json").unlink()
    Profile(tmp_path, "red").change_passphrase(lambda: "first")
    assert "key" not in in_folder(tmp_path), "the key is not left beside the passphrase"
    assert open_it(tmp_path, "first") == "kept"


def test_a_derived_key_of_the_version_before_gives_way_to_a_random_one(tmp_path: Path) -> None:
    former_profile(tmp_path, "correct horse")
    before = (tmp_path / "profiles/red/store.db").read_bytes()
    with pytest.raises(WrongPassphrase, match="does not open"):
        open_it(tmp_path, "wrong horse")
    assert (tmp_path / "profiles/red/store.db").read_bytes() == before
    assert open_it(tmp_path, "correct horse") == "kept"
    assert {name for name in in_folder(tmp_path) if "-" not in name} == {"key.json", "lock", "store.db"}
    assert (tmp_path / "profiles/red/store.db").read_bytes() != before
    Profile(tmp_path, "red", ask=lambda: "correct horse").change_passphrase(lambda: "new")
    assert open_it(tmp_path, "new") == "kept"


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(1, 12))
def test_no_crash_while_moving_over_leaves_a_profile_that_nothing_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    former_profile(tmp_path, "correct horse")
    steps = 0

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal steps
            steps += 1
            if steps == step:
                raise Crash
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("opens_with", "copy_database", "store_key", "sync_file"):
            patch.setattr(profile_key, name, counted(getattr(profile_key, name)))
        for name in ("rename", "unlink"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        try:
            open_it(tmp_path, "correct horse")
        except Crash:
            pass
        else:
            assert steps < step
    assert open_it(tmp_path, "correct horse") == "kept"
    assert open_it(tmp_path, "correct horse") == "kept"


@pytest.mark.parametrize("name", ["key.json", "passphrase.json"])
@pytest.mark.parametrize(
    "damage",
    [
        *("[]", "not json", '{"version": 2}', json.dumps({"version": 2, "wrapped": "zz"})),
        json.dumps({"version": 2, "key": "00"}),
        *(
            json.dumps(WRAPPED | {field: number})
            for field in ("iterations", "memory_cost", "lanes")
            for number in (0, -1, 2**70, float("inf"))
        ),
        json.dumps(WRAPPED | {"salt": "00"}),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str, damage: str) -> None:
    open_it(tmp_path)
    folder = tmp_path / "profiles/red"
    (folder / "key.json").unlink()
    (folder / name).write_text(damage)
    (folder / name).chmod(0o600)
    with pytest.raises(ProfileError, match="damaged"):
        open_it(tmp_path, "x")


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    open_it(tmp_path)
    (tmp_path / "profiles/red/key.json").write_text('{"version": 3}')
    with pytest.raises(ProfileError, match="newer clave"):
        open_it(tmp_path)
