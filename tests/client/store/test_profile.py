from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from clave_client.errors import (
    ProfileError,
    ProfileExposed,
    ProfileLocked,
    ProfileNotFound,
    UsageError,
    WrongPassphrase,
)
from clave_client.store import profile as profile_module
from clave_client.store.file_systems import network_file_system
from clave_client.store.folders import profile_names
from clave_client.store.profile import Profile


def test_a_new_profile_is_accessible_to_its_owner_only(tmp_path: Path) -> None:
    with Profile(tmp_path / "home", "red") as profile:
        for path in (tmp_path / "home", profile.folder.parent, profile.folder):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((profile.folder / "key.json").stat().st_mode) == 0o600


def test_the_key_is_the_same_at_every_opening(tmp_path: Path) -> None:
    with Profile(tmp_path / "home", "red") as profile:
        first = bytes(profile.take_key())
    with Profile(tmp_path / "home", "red") as profile:
        assert bytes(profile.take_key()) == first
    assert len(first) == 32


def test_the_key_is_handed_out_once(tmp_path: Path) -> None:
    with Profile(tmp_path / "home", "red") as profile:
        profile.take_key()
        with pytest.raises(ProfileError, match="open the profile first"):
            profile.take_key()


def test_a_second_opening_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    with (
        Profile(tmp_path / "home", "red"),
        pytest.raises(ProfileLocked, match="holds the profile red and does not answer"),
    ):
        Profile(tmp_path / "home", "red").open()
    Profile(tmp_path / "home", "red").open().close()


@pytest.mark.parametrize("level", ["", "profiles", "profiles/red"])
def test_a_folder_that_others_can_read_is_refused(tmp_path: Path, level: str) -> None:
    home = tmp_path / "home"
    Profile(home, "red").open().close()
    (home / level).chmod(0o750)
    with pytest.raises(ProfileExposed, match="chmod 700"):
        Profile(home, "red").open()


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    Profile(home, "red").open().close()
    (home / "profiles/red/key.json").chmod(0o644)
    with pytest.raises(ProfileExposed, match="chmod 600"):
        Profile(home, "red").open()


@pytest.mark.parametrize("level", ["profiles", "profiles/red"])
def test_a_symbolic_link_is_refused(tmp_path: Path, level: str) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (home / level).parent.mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    (home / level).parent.chmod(0o700)
    (home / level).symlink_to(elsewhere)
    with pytest.raises(ProfileExposed, match="symbolic link"):
        Profile(home, "red").open()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(ProfileError):
        Profile(tmp_path / "home", "red").open()


@pytest.mark.parametrize("name", ["", "../red", "a/b", ".", "..", "x" * 33, "re\u202ed", "re\x1bd"])
def test_an_invalid_name_creates_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        Profile(tmp_path / "home", name).open()
    assert not (tmp_path / "home").exists()


def test_a_passphrase_without_a_terminal_is_one_line(tmp_path: Path) -> None:
    Profile(tmp_path / "home", "red", ask=lambda: "x", new_passphrase=True).open().close()
    with pytest.raises(WrongPassphrase, match="has a passphrase"):
        Profile(tmp_path / "home", "red").open()


def test_a_lost_key_is_not_replaced_beside_a_database(tmp_path: Path) -> None:
    with Profile(tmp_path / "home", "red") as profile:
        profile.store_path.touch()
        (profile.folder / "key.json").unlink()
    with pytest.raises(WrongPassphrase, match="missing"):
        Profile(tmp_path / "home", "red").open()


def test_only_folders_with_a_database_count_as_profiles(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert profile_names(home) == []
    for name in ("red", "blue"):
        with Profile(home, name) as profile:
            profile.store_path.touch()
    with Profile(home, "green") as profile:
        profile.discard()
    Profile(home, "black").open().close()
    assert profile_names(home) == ["blue", "red"]


def test_the_profiles_repr_shows_no_key(tmp_path: Path) -> None:
    with Profile(tmp_path / "home", "red") as profile:
        key = json.loads((profile.folder / "key.json").read_text())["key"]
        assert key not in repr(profile)
        assert repr(bytes.fromhex(key)) not in repr(vars(profile))
        assert os.fspath(profile.folder).endswith("red")


def test_a_profile_on_a_network_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "21 1 8:1 / / rw - ext4 /dev/sda rw\n"
        f"22 21 0:5 / {tmp_path}/my\\040home rw - nfs4 server:/home rw\n"
        f"23 22 0:6 / {tmp_path}/my\\040home/here rw - ext4 /dev/sdb rw\n"
        "a line of another kind\n"
    )
    kinds = {
        name: network_file_system(tmp_path / name, mounts)
        for name in ("my home", "my home/sub", "my home/here", "my homes", "other")
    }
    assert kinds == {
        "my home": "nfs4", "my home/sub": "nfs4", "my home/here": None, "my homes": None, "other": None
    }  # fmt: skip
    assert network_file_system(tmp_path, tmp_path / "no such file") is None
    monkeypatch.setattr(profile_module, "network_file_system", lambda _: "nfs4")
    with pytest.raises(ProfileError, match=r"network disk \(nfs4\).*CLAVE_HOME"):
        Profile(tmp_path / "my home", "red").open()
    assert not (tmp_path / "my home").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Profile(tmp_path / "home", "red").open().close()

    def refuse(path: Path) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(profile_module, "take_lock", refuse)
    with pytest.raises(ProfileError, match=r"cannot write in .*red: Read-only file system"):
        Profile(tmp_path / "home", "red").open()


@pytest.mark.parametrize("name", [".", "..", "../..", "", "a/b", "/"])
def test_nothing_but_a_profile_is_erased(tmp_path: Path, name: str) -> None:
    home = tmp_path / "outer" / "home"
    with Profile(home, "red") as profile:
        profile.store_path.touch()
    kept = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(UsageError):
        Profile(home, name).erase()
    assert sorted(path for path in tmp_path.rglob("*")) == kept


def test_a_profile_is_erased_and_files_of_others_stay(tmp_path: Path) -> None:
    with Profile(tmp_path, "red") as profile:
        profile.store_path.touch()
        with pytest.raises(UsageError, match=f"process {os.getpid()} has the profile open"):
            Profile(tmp_path, "red").erase()
    Profile(tmp_path, "red").erase()
    assert not profile.folder.exists()
    with Profile(tmp_path, "red") as profile:
        profile.store_path.touch()
    (profile.folder / "photo.jpg").touch()
    with pytest.raises(ProfileError, match=r"stays in .*red: photo.jpg"):
        Profile(tmp_path, "red").erase()
    assert [path.name for path in profile.folder.iterdir()] == ["photo.jpg"]
    with pytest.raises(ProfileNotFound):
        Profile(tmp_path, "blue").erase()
    (tmp_path / "profiles" / "green").symlink_to(profile.folder)
    with pytest.raises(ProfileExposed, match="symbolic link"):
        Profile(tmp_path, "green").erase()
    assert (profile.folder / "photo.jpg").exists()
