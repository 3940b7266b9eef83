"""P3: what a relay shows differently to members is noticed at the next thing said by who saw otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from adversary.kit import (
    Wire,
    changed,
    device,
    faults,
    lies,
    notices,
    of_kind,
    read_up,
    room_of,
    stage,
    talk,
    until,
    wire_of,
)
from clave_client import events
from clave_client.errors import ClientError
from clave_client.events import Inconsistency
from clave_wire.messages import (
    Accepted,
    Code,
    Entry,
    Invitation,
    Kind,
    Rejected,
    Resumed,
    Submit,
    ToClient,
    ToRelay,
)
from scenarios.stage import Somebody, gather_in

ShownKey = Callable[[ToClient], Sequence[ToClient]]


class Renumbering:
    """Leaves out of one member's log what `leaves_out` says, and closes the gap in both directions."""

    def __init__(
        self, wire: Wire, leaves_out: Callable[[Entry], bool], honest: Somebody, room: bytes
    ) -> None:
        self.left_out = 0
        self._leaves_out = leaves_out
        self._honest = honest
        self._room = room
        wire.shown, wire.told = self._shown, self._told

    def _shown(self, message: ToClient) -> Sequence[ToClient]:
        if isinstance(message, Entry) and self._leaves_out(message):
            self.left_out += 1
            return ()
        if isinstance(message, Entry | Accepted):
            return (changed(message, seq=message.seq - self.left_out),)
        return (message,)

    def _told(self, message: ToRelay) -> Sequence[ToRelay]:
        if isinstance(message, Submit):
            return (changed(message, read=room_of(self._honest, self._room).record.read),)
        return (message,)


def once(condition: Callable[[Entry], bool] = lambda _: True) -> Callable[[Entry], bool]:
    """Hold for the first entry that fits."""
    left = [True]

    def holds(entry: Entry) -> bool:
        if left[0] and condition(entry):
            left[0] = False
            return True
        return False

    return holds


def swapping(first: int) -> ShownKey:
    """Show entry `first` and the one after it in each other's place."""
    held: list[Entry] = []

    def shown(message: ToClient) -> Sequence[ToClient]:
        if isinstance(message, Entry) and message.seq == first:
            held.append(message)
            return ()
        if isinstance(message, Entry) and message.seq == first + 1:
            return (changed(message, seq=first), changed(held[0], seq=first + 1))
        return (message,)

    return shown


async def alarmed(*people: Somebody, among: set[Inconsistency]) -> None:
    """Wait until each has noticed one of the lies."""
    await until(lambda: all(lies(person) & among for person in people), seconds=5)


async def test_an_honest_relay_alarms_nobody(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (relay, (red, blue, green)):
        room = await gather_in("friends", red, blue)
        await talk(room, red, blue)
        await red.client.invite(room, "green")
        await green.sees(events.Invited)
        await green.client.accept(room)
        for title in ("one", "two"):
            await talk(room, red, blue, green)
            await red.client.set_title(room, title)
            await blue.go()
            await talk(room, red, green)
            await blue.come()
        await relay.kill()
        await relay.start()
        await talk(room, red, blue, green)
        await red.client.remove(room, "green")
        await talk(room, red, blue)
        for person in (red, blue, green):
            assert not of_kind(person, events.Diverged)
            assert not [told for told in notices(person) if "does not count" in told]


async def test_a_message_left_out_and_the_rest_renumbered(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        Renumbering(wire_of("green"), once(), red, room)
        await red.client.send(room, "withheld")
        await blue.reads("withheld")
        await blue.client.send(room, "and so on")
        await green.reads("and so on")
        await alarmed(green, among={Inconsistency.IMPOSSIBLE})
        assert "withheld" not in green.texts(room)


async def test_a_change_of_the_room_left_out(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        rekey = once(lambda entry: entry.kind is Kind.REKEY)
        confirm = once(lambda entry: entry.kind is Kind.CONFIRM)
        change = Renumbering(wire_of("green"), lambda entry: rekey(entry) or confirm(entry), red, room)
        await red.client.set_title(room, "without green")
        await read_up(room, red, blue)
        await until(lambda: change.left_out == 2)
        await blue.client.send(room, "in the new epoch")
        await alarmed(green, among={Inconsistency.AHEAD})
        await green.sees(events.Notice, lambda notice: "follows" in notice.text)
        await talk(room, red, blue, green)
        await alarmed(red, blue, among={Inconsistency.BEHIND, Inconsistency.HISTORY})
        assert room_of(green, room).record.title == "without green"


async def test_a_message_shown_again(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        shift = [0]

        def shown(message: ToClient) -> Sequence[ToClient]:
            if isinstance(message, Entry) and not shift[0]:
                shift[0] = 1
                return (message, changed(message, seq=message.seq + 1))
            if isinstance(message, Entry | Accepted):
                return (changed(message, seq=message.seq + shift[0]),)
            return (message,)

        wire_of("green").shown = shown
        await red.client.send(room, "once")
        await green.reads("once")
        await blue.reads("once")
        await blue.client.send(room, "next")
        await green.reads("next")
        await blue.client.send(room, "and next")
        await green.reads("and next")
        await alarmed(green, among={Inconsistency.HISTORY})
        assert green.texts(room).count("once") == 1, "shown once all the same"


@pytest.mark.parametrize("change", [False, True])
async def test_two_messages_in_each_others_place(tmp_path: Path, *, change: bool) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        wire_of("green").shown = swapping(room_of(green, room).record.cursor + 1)
        await red.client.send(room, "shall I sell?")
        await blue.reads("shall I sell?")
        await blue.client.send(room, "yes")
        await until(lambda: len(green.texts(room)) == 2)
        assert green.texts(room) == ["yes", "shall I sell?"]
        if change:
            await red.client.set_title(room, "another epoch")
        await red.client.send(room, "said by who saw otherwise")
        await green.reads("said by who saw otherwise")
        await alarmed(green, among={Inconsistency.HISTORY, Inconsistency.IMPOSSIBLE})
        await green.client.send(room, "said by who was lied to")
        await alarmed(red, blue, among={Inconsistency.HISTORY})


async def test_other_last_messages_before_a_change_and_a_restart(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        Renumbering(wire_of("green"), once(lambda entry: entry.kind is Kind.APPLICATION), red, room)
        await red.client.send(room, "the last one of this epoch")
        await read_up(room, red, blue)
        await red.client.set_title(room, "friends two")
        await until(lambda: room_of(green, room).record.title == "friends two")
        await alarmed(green, among={Inconsistency.IMPOSSIBLE, Inconsistency.HISTORY})
        await red.go()
        await red.come()
        green.client.post(room, "after all that")
        await alarmed(red, blue, among={Inconsistency.HISTORY})


async def test_an_acknowledgement_of_what_is_stored_nowhere(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        wire, kept = wire_of("red"), [0]

        def told(message: ToRelay) -> Sequence[ToRelay]:
            if isinstance(message, Submit) and not kept[0]:
                kept[0] = 1
                seq = room_of(red, room).record.cursor + 1
                answer = Accepted(room, message.submission, seq)
                asyncio.get_running_loop().call_soon(wire.show, answer)
                return ()
            return (
                (changed(message, submission=message.submission - 1),)
                if isinstance(message, Submit)
                else (message,)
            )

        def shown(message: ToClient) -> Sequence[ToClient]:
            if isinstance(message, Accepted):
                return (changed(message, submission=message.submission + 1, seq=message.seq + 1),)
            return (
                (changed(message, seq=message.seq + kept[0]),) if isinstance(message, Entry) else (message,)
            )

        wire.told, wire.shown = told, shown
        await red.client.send(room, "lost")
        await red.client.send(room, "the next")
        await blue.reads("the next")
        await alarmed(blue, among={Inconsistency.IMPOSSIBLE, Inconsistency.HISTORY})
        await blue.client.send(room, "what is lost?")
        await red.reads("what is lost?")
        await alarmed(red, among={Inconsistency.HISTORY})


@pytest.mark.parametrize("number", ["of nothing sent", "taken already"])
async def test_an_acknowledgement_that_cannot_be(tmp_path: Path, number: str) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        wire = wire_of("red")
        if number == "of nothing sent":
            wire.show(Accepted(room, 77, room_of(red, room).record.cursor + 1))
        else:

            def told(message: ToRelay) -> Sequence[ToRelay]:
                if isinstance(message, Submit):
                    wire.honest()
                    asyncio.get_running_loop().call_soon(wire.show, Accepted(room, message.submission, 1))
                    return ()
                return (message,)

            wire.told = told
            red.client.post(room, "said once more")
        await red.sees(events.Disconnected)
        assert "acknowledged" in faults(red)[0]
        await talk(room, red, blue)
        if number == "taken already":
            assert blue.texts(room).count("said once more") == 1


@pytest.mark.parametrize("offset", [1, 1_000_000, -1])
async def test_the_place_of_a_newcomer(tmp_path: Path, offset: int) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue)
        wire_of("green").shown = lambda message: (
            (changed(message, seq=message.seq + offset),) if isinstance(message, Invitation) else (message,)
        )
        await red.client.invite(room, "green")
        await green.sees(events.Invited)
        await green.client.accept(room)
        await red.client.send(room, "welcome")
        await green.reads("welcome")
        await alarmed(green, among={Inconsistency.PLACE, Inconsistency.AHEAD})


@pytest.mark.parametrize("up_to", ["the newcomer", "the end"])
async def test_a_log_passed_off_as_one_of_protocol_3(tmp_path: Path, up_to: str) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue)
        legacy = [1 << 40]

        def shown(message: ToClient) -> Sequence[ToClient]:
            if isinstance(message, Invitation):
                if up_to == "the newcomer":
                    legacy[0] = message.seq
                bare = msgspec.msgpack.decode(message.welcome)[1]
                return (changed(message, welcome=bare),)
            return (changed(message, legacy=legacy[0]),) if isinstance(message, Resumed) else (message,)

        wire_of("green").shown = shown
        await red.client.invite(room, "green")
        await green.sees(events.Invited)
        await green.client.accept(room)
        await red.client.send(room, "welcome")
        await alarmed(green, among={Inconsistency.PLACE, Inconsistency.HISTORY})


async def test_a_view_that_nobody_can_have_is_told(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        chain = room_of(blue, room).chain
        real = chain.seen
        chain.seen = lambda: changed(real(), seq=real().seq + 1000)  # type: ignore[method-assign]
        await blue.client.send(room, "from the future")
        await red.reads("from the future")
        await alarmed(red, among={Inconsistency.IMPOSSIBLE})


async def test_a_message_that_is_refused_and_stored(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)

        def shown(message: ToClient) -> Sequence[ToClient]:
            if isinstance(message, Accepted):
                wire_of("red").honest()
                payload = room_of(red, room).in_flight[message.submission].payload
                stored = Entry(
                    room, message.seq, device(red), message.submission, Kind.APPLICATION, 0, payload
                )
                return (Rejected(room, message.submission, Code.LIMIT, "no room"), stored)
            return (message,)

        wire_of("red").shown = shown
        with pytest.raises(ClientError, match="no room"):
            await red.client.send(room, "said and not said")
        await blue.reads("said and not said")
        await alarmed(red, among={Inconsistency.STORED})


async def test_one_senders_two_messages_reversed_for_all(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        held: list[Submit] = []

        def told(message: ToRelay) -> Sequence[ToRelay]:
            if not isinstance(message, Submit) or len(held) == 2:
                return (message,)
            held.append(message)
            if len(held) == 1:
                return ()
            first, second = held
            return (
                changed(second, submission=first.submission),
                changed(first, submission=second.submission),
            )

        def shown(message: ToClient) -> Sequence[ToClient]:
            numbers = [submit.submission for submit in held]
            if isinstance(message, Accepted | Entry) and message.submission in numbers:
                return (changed(message, submission=sum(numbers) - message.submission),)
            return (message,)

        wire_of("red").told, wire_of("red").shown, wire_of("blue").shown = told, shown, shown
        red.client.post(room, "do not")
        red.client.post(room, "press it")
        await blue.reads("do not")
        assert blue.texts(room) == ["press it", "do not"]
        await alarmed(blue, among={Inconsistency.ORDER})


async def test_a_lie_in_a_batch_that_ends_in_a_fault_is_told_when_it_comes_again(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        wire, batch = wire_of("red"), list[Entry]()
        here = room_of(blue, room)
        real = here.chain.seen
        here.chain.seen = lambda: changed(real(), seq=real().seq + 1000)  # type: ignore[method-assign]

        def shown(message: ToClient) -> Sequence[ToClient]:
            if isinstance(message, Entry):
                wire.honest()
                batch.append(message)
                return (message, changed(message, seq=message.seq + 5))
            return (message,)

        wire.shown = shown
        await blue.client.send(room, "one that tells")
        await red.sees(events.Disconnected)
        assert "left out" in faults(red)[0]
        await red.reads("one that tells")
        await alarmed(red, among={Inconsistency.IMPOSSIBLE})
