"""What the relay could learn of a message is compared with what the relay in memory got."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from clave_client import events
from clave_client.client import Client
from clave_client.errors import UsageError
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.ui.inspection_lines import relay_view_lines
from clave_client.ui.inspection_work import print_relay_view
from clave_client.values import RelayView
from clave_wire.header import split_payload
from clave_wire.messages import Entry
from client.rpc.kit import Home, home_at, next_of
from client.rpc.test_inspection import typed


def received(home: Home, view: RelayView) -> Entry:
    """Return the entry that the relay has."""
    return home.relay.rooms[view.room].entries[view.number - 1]


async def heard(session: Session, text: str) -> None:
    """Wait for a message."""
    event: events.Event | None = None
    while not (isinstance(event, events.Message) and event.text == text):
        event = (await next_of(session, events.Message)).event


async def test_sizes_and_header_are_those_that_the_relay_got(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        for text in ("x", "a longer one, " * 20, "y" * 5000, "**bold** and `code`"):
            await red.ask(m.Send(room="friends", text=text))
            view = await red.ask(m.GetRelayView(room="friends"))
            entry = received(home, view)
            header, raw_header, body = split_payload(entry.payload)
            assert view.ciphertext_bytes == len(body)
            assert view.entry_bytes == len(entry.payload) == len(raw_header) + len(body)
            assert view.padded_bytes is not None
            assert len(text) < view.padded_bytes < len(body)
            assert (view.head, entry.sender) == (header.head, view.device)
            assert view.characters == len(text.replace("*", "").replace("`", ""))
            times = home.relay.rooms[view.room].times
            assert view.accepted_at == times[view.number - 1] / 1000
            account = home.relay.directory.names[view.device]
            assert (view.name, view.own) == (account, True) == ("red", True)
        assert {each.device for each in view.devices} == set(home.relay.rooms[view.room].members)
        assert all(each.online for each in view.devices)
        assert view.devices_then
        await red.ask(m.Send(room="friends", text="z", reply_to=str(view.number), expires=3600))
        await red.ask(m.React(room="friends", reaction="+1", message="last"))
        again = await red.ask(m.GetRelayView(room="friends"))
        assert (again.reply_to, again.disappears, again.role) == (view.number, True, "admin")
        assert again.entry_bytes == len(received(home, again).payload)
        await heard(blue, "z")
        theirs = await blue.ask(m.GetRelayView(room="friends", message=str(again.number)))
        assert (theirs.name, theirs.own, theirs.number) == ("red", False, again.number)
        assert (theirs.head, theirs.accepted_at) == (again.head, again.accepted_at)
        assert theirs.ciphertext_bytes is theirs.entry_bytes is theirs.seen is None
        assert theirs.way == ""


async def test_what_is_not_kept_is_said_and_not_guessed(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, _ = await home.friends("red", "blue")
        await red.ask(m.Send(room="friends", text="before"))
        before = await red.ask(m.GetRelayView(room="friends"))
        assert before.head is not None
        green = await home.session("green")
        await green.subscribe()
        await red.ask(m.Invite(room="friends", name="green"))
        after = await red.ask(m.GetRelayView(room="friends"))
        assert after.number == before.number
        assert (after.head, after.seen, after.count, after.devices_then) == (None, None, None, False)
        assert len(after.devices) == len(before.devices) + 1
        assert after.ciphertext_bytes == before.ciphertext_bytes, "the content is kept, and measured again"
        lines = "\n".join(relay_view_lines(after))
        assert "epoch not kept here; the last entry that the sender had seen: not kept here" in lines
        assert "now; who was there then is not kept here" in lines
        await red.ask(m.DeleteMessage(room="friends", message=str(before.number)))
        deleted = await red.ask(m.GetRelayView(room="friends", message=str(before.number)))
        assert (deleted.ciphertext_bytes, deleted.characters) == (None, 0)
        assert "size: not kept here" in "\n".join(relay_view_lines(deleted))


async def test_a_header_is_known_while_its_entry_waits_for_a_confirmation(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await blue.close()  # nobody is there to confirm what red changes
        await red.ask(m.SetTitle(room="friends", title="team"))
        await red.ask(m.Send(room="friends", text="in an epoch that waits"))
        view = await red.ask(m.GetRelayView(room="friends"))
        header = split_payload(received(home, view).payload)[0]
        assert (view.head, view.seen, view.count) == (header.head, header.seen.seq, header.count)
        assert view.entry_bytes == len(received(home, view).payload)


async def test_a_header_of_unknown_numbers_has_a_size_only_if_all_have_the_same(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        for number in range(140):
            await red.ask(m.Post(room="friends", text=str(number)))
        await red.ask(m.Send(room="friends", text="the last"))
        view = await red.ask(m.GetRelayView(room="friends"))
        assert view.number > 128
        assert view.entry_bytes is None
        assert view.ciphertext_bytes == len(split_payload(received(home, view).payload)[2])
        first = await red.ask(m.GetRelayView(room="friends", message="100"))
        assert first.ciphertext_bytes == len(split_payload(received(home, first).payload)[2])


async def test_it_is_told_in_words_and_as_json(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    async with home_at(tmp_path) as home:
        red, _ = await home.friends("red", "blue")
        with pytest.raises(UsageError, match="this device has said nothing in friends"):
            await red.ask(m.GetRelayView(room="friends"))
        await red.ask(m.Send(room="friends", text="secret words"))
        view = await red.ask(m.GetRelayView(room="friends"))
        lines = relay_view_lines(view)
        split = lines.index("what it could not:")
        learnt, hidden = "\n".join(lines[:split]), "\n".join(lines[split:])
        device = view.device.hex()[:16]
        for value in ("red", device, view.room.hex(), f"{view.entry_bytes} bytes", "1 device of blue"):
            assert value in learnt
        assert view.head is not None
        assert view.head.hex() in learnt
        assert "friends" not in learnt
        assert "12 characters" in hidden
        assert "friends" in hidden
        assert "secret" not in "\n".join(lines)
        assert await typed(red, f"/receipt {view.number}") == [f"* {line}" for line in lines]
        assert await typed(red, "/receipt") == [f"* {line}" for line in lines]
        assert "takes the number of a message" in "\n".join(await typed(red, "/receipt 1 2"))
        capfdbinary.readouterr()
        await print_relay_view(red, "friends", "last", as_json=True)
        found = json.loads(capfdbinary.readouterr().out)
        assert (found["v"], found["number"], found["entry_bytes"]) == (1, view.number, view.entry_bytes)
        assert datetime.fromisoformat(found["accepted_at"]).timestamp() == pytest.approx(view.accepted_at)
        assert (found["seen"], found["count"]) == (None, None)
        assert found["hidden"]["title"] == "friends"
        assert found["hidden"]["characters"] == 12


async def test_the_way_to_the_relay_says_which_address_it_sees(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        await red.ask(m.Send(room="friends", text="hello"))
        assert (await red.ask(m.GetRelayView(room="friends"))).way == "direct"
        await red.close()
        for relay, proxy, way in (
            (home.relay.address, None, "direct"),
            (home.relay.address, "socks5://127.0.0.1:9050", "proxy"),
            (f"{'a' * 56}.onion", "socks5://127.0.0.1:9050", "onion"),
            (home.relay.address, "none", "direct"),
        ):
            with home.profile("red") as profile:
                client = Client(profile, relay, proxy=proxy)
                client.open()
                assert client.relay_view(client.find_room("friends")).way == way
                await client.close()
