"""P1: an account of a room is one of the relay's, so that nobody alone is the two that a rekey takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adversary.kit import (
    LyingLink,
    changed,
    device,
    members,
    notices,
    room_of,
    stage,
    talk,
    until,
    wire_of,
)
from clave_client.errors import ClientError
from clave_client.rooms import commit_builder
from clave_client.store import account
from clave_crypto.identity import AccountKey
from clave_crypto.keys import Secret
from clave_crypto.mls import Add
from clave_wire.header import digest_names
from clave_wire.messages import Resumed
from scenarios.stage import Relay, Somebody, gather_in


async def second_device(
    mallory: Somebody, name: str, folder: Path, relay: Relay, patch: pytest.MonkeyPatch
) -> Somebody:
    """Return somebody with an account of its own, whose device the relay knows as one of mallory's."""
    secret = mallory.client.sync.store.get("account_secret")
    assert secret is not None
    key, login, load = AccountKey.from_secret(Secret(secret)), LyingLink.login, account.Account.load_or_create
    registered: dict[bytes, bytes] = {}

    async def login_as_mallory(link: Any, identity: bytes, device: Any, *rest: Any) -> Any:
        return await login(link, registered.get(device.public, identity), device, *rest)

    def load_or_create(store: Any, own_name: str, device_name: str = "") -> account.Account:
        made = load(store, own_name, device_name)
        if own_name == name:
            registered[made.device.public] = key.certify("mallory", "second", made.device.public)
        return made

    patch.setattr(LyingLink, "login", login_as_mallory)
    patch.setattr(account.Account, "load_or_create", load_or_create)
    ghost = Somebody(folder, name, relay)
    await ghost.come()
    return ghost


def add_of(ghost: Somebody, suite: Any) -> Callable[[Any], list[Add]]:
    session = ghost.client.sync
    bundle = session.account.make_bundle(suite, time.time())
    with session.store.transaction():
        session.store.add_bundle(bundle.reference, bundle.encode(), suite.id, last_resort=False)
    return lambda _: [Add(bundle.key_package)]


async def test_one_account_is_no_two_in_a_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(tmp_path, "red", "blue", "mallory") as (relay, (red, blue, mallory)):
        friends = await gather_in("friends", red, blue, mallory)
        ghost = await second_device(mallory, "ghost", tmp_path / "home", relay, monkeypatch)
        added = add_of(ghost, room_of(mallory, friends).group.suite)
        with pytest.raises(ClientError, match="belongs to another account"):
            await mallory.client.sync.commit(friends, added)
        with monkeypatch.context() as patch:
            patch.setattr(
                commit_builder,
                "digest_names",
                lambda added: digest_names((each, "mallory") for each, _ in added),
            )
            adding = asyncio.create_task(mallory.client.sync.commit(friends, added))
            await until(lambda: any("does not count" in told for told in notices(red)))
            adding.cancel()
        assert members(red, friends) == members(blue, friends) == {"red", "blue", "mallory"}
        await mallory.go()
        await ghost.go()
        await talk(friends, red, blue)


async def test_members_that_the_relay_knows_by_another_name_are_told_once(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        friends = await gather_in("friends", red, blue)
        names = {device(blue): "mallory"}
        wire_of("red").shown = lambda message: (
            changed(message, members=[(each, names.get(each, name)) for each, name in message.members])
            if isinstance(message, Resumed)
            else message,
        )
        for _ in range(2):
            red.client.sync.restart_resume(room_of(red, friends))
            await until(lambda: room_of(red, friends).synced)
        told = [
            text for text in notices(red) if text.startswith("the relay knows blue in friends as mallory")
        ]
        assert len(told) == 1
        await talk(friends, red, blue)
