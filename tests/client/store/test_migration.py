"""A profile that the version before wrote is opened as it was left, and can be shared by windows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clave_client.client import Client
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.store import schema
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.store.profile import Profile
from clave_client.store.schema import MIGRATIONS
from clave_client.testing import MemoryRelay
from clave_client.values import Phase
from clave_crypto.keys import Secret

STORED = Path(__file__).parents[1] / "stored"
KEY = "acc49d837809956edfdb40be7d9da81ef673669128f2356b27f2657ed73d6ba5"


def place(tmp_path: Path) -> None:
    """Place the stored profile under `tmp_path`."""
    folder = tmp_path / "profiles" / "blue"
    for each in (tmp_path / "profiles", folder):
        each.mkdir(mode=0o700)
    tmp_path.chmod(0o700)
    shutil.copyfile(STORED / "version-6-blue.db", folder / "store.db")
    (folder / "key").write_bytes(bytes.fromhex(KEY))
    (folder / "key").chmod(0o600)


async def test_a_profile_of_version_6_goes_on_where_it_was_left(tmp_path: Path) -> None:
    place(tmp_path)
    async with MemoryRelay() as relay:
        relay.is_reachable = False

        def client(profile: Profile) -> Client:
            return Client(profile, connect=relay.connect)

        async with (
            Session(Profile(tmp_path, "blue"), client) as first,
            Session(Profile(tmp_path, "blue"), client) as window,
        ):
            assert (first.is_owner, window.is_owner) == (True, False)
            assert window.info.store == len(MIGRATIONS)
            (room,) = await window.ask(m.ListRooms())
            assert (room.title, room.phase, room.waiting) == ("friends", Phase.JOINED, 1)
            history = await window.ask(m.GetHistory(room="friends"))
            assert [message.text for message in history] == ["hello red", "hello blue"]
            assert [message.own for message in history] == [True, False]
            assert history[1].sender.verified
            (waiting,) = await window.ask(m.ListPending())
            assert waiting.text == "written offline"
            assert await window.subscribe() == 0, "no events were stored before"
            await window.ask(m.Post(room="friends", text="and this"))
            assert [each.text for each in await window.ask(m.ListPending())] == [
                "written offline",
                "and this",
            ]


@pytest.mark.parametrize("version", [8, 9])
def test_key_packages_of_an_earlier_version_are_replaced(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of version 8 had extensions that were not listed, those of 9 do not say what the device reads."""
    place(tmp_path)
    path, key = tmp_path / "profiles" / "blue" / "store.db", Secret(bytes.fromhex(KEY))
    with monkeypatch.context() as former:
        former.setattr(schema, "MIGRATIONS", MIGRATIONS[:version])
        store = Store(path, key)
        Account.load_or_create(store, "blue").note_publications(3)
        store.close()
    store = Store(path, key)
    assert Account.load_or_create(store, "blue").publications == 0, "so that all are replaced at the login"
    store.close()
