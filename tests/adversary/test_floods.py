"""P6: lies and floods cost bounded memory, and are over soon."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import clave_client.sync.room_sync
from adversary.kit import Insider, device, notices, of_kind, room_of, stage, talk, until, wire_of
from clave_client import events
from clave_client.formats.former_state import FORMER_STATE_EXTENSION
from clave_client.formats.payload import epoch_id
from clave_client.formats.welcome import Welcome
from clave_client.store.account import leaf_lifetime
from clave_client.sync.event_queue import MAX_EVENTS
from clave_crypto.mls import Add, Group, KeyPackageBundle, Limits, NoPolicy, decode_key_package
from clave_wire.messages import (
    ClaimKeyPackages,
    Entry,
    Invitation,
    KeyPackages,
    Kind,
    Mend,
    Presence,
    ToRelay,
)
from scenarios.stage import gather_in


def overheard(name: str, *, passed_on: bool = True) -> list[ToRelay]:
    """Return what somebody will have told the relay."""
    said: list[ToRelay] = []

    def told(message: ToRelay) -> Sequence[ToRelay]:
        said.append(message)
        return (message,) if passed_on else ()

    wire_of(name).told = told
    return said


async def test_presences_of_devices_that_are_not(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        asked = overheard("red", passed_on=False)
        before = sys.getallocatedblocks()
        for _ in range(60):
            wire_of("red").show(
                *(Presence(room, os.urandom(32), "x" * 64, True, "y" * 500) for _ in range(5000))
            )
            # No more is read from a relay while much waits.
            await until(lambda: not red.client.sync._inbox.is_behind)
        assert sys.getallocatedblocks() - before < 50_000, "300,000 presences leave next to nothing"
        assert len(asked) <= 1
        assert not of_kind(red, events.PresenceChanged)[2:]


async def test_a_member_that_comes_and_goes_without_end_while_nobody_reads(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        await red.stop_listening()
        for number in range(60_000):
            wire_of("red").show(Presence(room, device(blue), "blue", number % 2 == 1, "y" * 500))
        await blue.client.send(room, "amid all that")
        await until(lambda: "amid all that" in red.texts(room))
        session = red.client.sync
        assert session.events.waiting <= MAX_EVENTS
        told = red.stream.pending()
        assert isinstance(told[0], events.Notice)
        assert "were dropped" in told[0].text
        assert any(isinstance(event, events.Message) for event in told)


async def test_entries_that_do_not_count_are_told_of_once(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        wire, seq = wire_of("red"), room_of(red, room).record.cursor
        wire.told = lambda message: ()  # or the relay would say that it has no such entries
        before = len(red.happened)
        for number in range(1, 3001):
            sender = device(blue) if number % 2 else os.urandom(32)
            wire.show(Entry(room, seq + number, sender, number, Kind.APPLICATION, 0, os.urandom(40)))
        await asyncio.sleep(0.2)
        told = [event for event in red.happened[before:] if isinstance(event, events.Notice)]
        assert len(told) <= 2


async def test_made_up_epochs_cost_the_others_few_changes(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        insider = Insider(blue, room)
        said = [overheard(name) for name in ("red", "green")]
        for _ in range(100):
            await insider.put(Kind.APPLICATION, insider.garbage(Kind.APPLICATION, head=os.urandom(32)))
        await asyncio.sleep(0.5)
        assert sum(map(len, said)) <= 6, "they ask once in a while whether they cannot follow"
        await red.client.remove(room, "blue")
        await talk(room, red, green)


async def test_all_whom_garbage_put_on_the_relays_list_go_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clave_client.sync.routing, "MAX_BATCH_MEMBERS", 1)
    async with stage(tmp_path, "red", "blue", "grey", "white", "black") as (_, people):
        red, blue, *strangers = people
        room = await gather_in("friends", red, blue)
        insider, devices = Insider(blue, room), {device(person) for person in strangers}
        await insider.put(Kind.COMMIT, insider.garbage(Kind.COMMIT, add=sorted(devices)))
        said = overheard("red")
        await red.go()
        await red.come()
        await talk(room, red)
        removed = [set(message.remove) for message in said if isinstance(message, Mend)]
        assert len(removed) == 3
        assert set().union(*removed) == devices


async def test_a_welcome_with_too_many_leaves(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        insider = Insider(blue, room)
        account, suite = blue.client.sync.account, insider.group.suite
        answer = await blue.client.sync.transport.request(
            lambda request: ClaimKeyPackages(request, "red", suite.id)
        )
        assert isinstance(answer, KeyPackages)
        now, another = time.time(), os.urandom(16)
        not_before, not_after = leaf_lifetime(now)
        limits = Limits(leaves=5000)
        group = Group.create(
            suite,
            another,
            account.identity,
            account.device.secret,
            policy=NoPolicy(),
            extensions=insider.group.extensions,
            not_before=not_before,
            not_after=not_after,
            extension_types=(FORMER_STATE_EXTENSION,),
            limits=limits,
        )
        crowd = []
        for number in range(600):
            key = suite.signature.generate(os.urandom)
            bundle = KeyPackageBundle.generate(
                suite,
                b"%d" % number,
                key,
                not_before=not_before,
                not_after=not_after,
                extension_types=(FORMER_STATE_EXTENSION,),
            )
            crowd.append(Add(bundle.key_package))
        commit = group.commit([*crowd, Add(decode_key_package(answer.packages[0]))], now=int(now), path=False)
        group.merge(commit)
        assert commit.welcome is not None
        welcome = Welcome.seal(commit.welcome, epoch_id(group), insider.seen, insider.key)
        begun = time.perf_counter()
        wire_of("red").show(Invitation(77, another, 1, device(blue), welcome))
        assert time.perf_counter() - begun < 2.0
        assert another not in red.client.rooms
        await until(lambda: any("invitation could not be used" in told for told in notices(red)))
        await talk(room, red)
