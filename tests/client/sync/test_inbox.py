"""Messages are handled in order and in turns, between which the event loop serves everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import cast

import pytest

from clave_client.errors import ClientError, RelayFault
from clave_client.net.reconnecting_transport import ReconnectingTransport
from clave_client.rooms.log_reader import LogMessage
from clave_client.sync import inbox as inbox_module
from clave_client.sync.inbox import BATCH_MESSAGES, Inbox
from clave_wire.messages import Accepted, AcceptedAt, Done, Entry, Kind, ToClient

ROOM, OTHER = b"r" * 16, b"s" * 16


def entry(seq: int, *, room: bytes = ROOM, size: int = 10) -> Entry:
    return Entry(room, seq, b"d" * 32, seq, Kind.APPLICATION, 0, bytes(size))


class Connection:
    """What an inbox uses of a connection: notes the errors that end it, and whether reading is paused."""

    def __init__(self) -> None:
        self.transport = self
        self.is_paused = False
        self.resumed = 0
        self.error: ClientError | None = None

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False
        self.resumed += 1

    def guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ClientError as error:
            self.error = error


class Reader:
    """An inbox whose batches are noted; each takes `seconds` of the loop's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.011) -> None:
        self.connection = Connection()
        self.batches: list[tuple[bytes, list[int]]] = []
        self.handled: list[object] = []
        self.behind: list[bool] = []
        self.turns = 0
        self.fail_at = 0
        self.inbox = Inbox(
            cast(ReconnectingTransport, self.connection),
            read=self._read,
            handle=self._handle,
            turn_done=self._turn_done,
        )
        self.seconds = seconds
        self.now = 0.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)

    def _read(self, room: bytes, batch: list[LogMessage]) -> None:
        self.now += self.seconds
        seqs = [each.seq for each in batch if isinstance(each, Entry)]
        if self.fail_at in seqs:
            raise RelayFault("out of turn")
        self.batches.append((room, seqs))
        self.handled += batch
        self.behind.append(self.inbox.is_behind)

    def _handle(self, message: ToClient) -> None:
        self.now += self.seconds
        self.handled.append(message)

    def _turn_done(self) -> None:
        self.turns += 1


async def until(condition: Callable[[], bool]) -> int:
    """Run the loop until a condition holds; return how many rounds it took."""
    for rounds in range(1000):
        if condition():
            return rounds
        await asyncio.sleep(0)
    raise AssertionError("it never holds")


async def test_what_fits_in_a_turn_is_handled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    messages: list[ToClient] = [entry(1), entry(2)]
    reader.inbox.put(messages)
    assert reader.batches == [(ROOM, [1, 2])]
    assert reader.behind == [False]
    assert reader.turns == 0, "the caller follows up on the first turn"


def _has_more(reader: Reader, before: int) -> bool:
    return len(reader.handled) > before


async def test_messages_are_handled_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    messages: list[ToClient] = []
    for seq in range(1, 300):
        messages.append(entry(seq))
        if seq % 50 == 0:
            messages.append(Done(seq))
    reader.inbox.put(messages[:200])
    reader.inbox.put(messages[200:])
    await until(lambda: len(reader.handled) == len(messages))
    assert reader.handled == messages


async def test_entries_of_several_rooms_are_a_batch_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    reader.inbox.put([entry(1), entry(1, room=OTHER), entry(2), entry(2, room=OTHER)])
    assert reader.batches == [(ROOM, [1, 2]), (OTHER, [1, 2])]


async def test_a_batch_is_bounded_in_messages_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    reader.inbox.put([entry(seq) for seq in range(1, 3 * BATCH_MESSAGES)])
    await until(lambda: not reader.inbox.is_behind)
    assert [len(seqs) for _, seqs in reader.batches] == [BATCH_MESSAGES] * 2 + [BATCH_MESSAGES - 1]
    assert reader.behind == [True, True, False]
    big = Reader(monkeypatch)
    big.inbox.put([entry(seq, size=100_000) for seq in range(1, 9)])
    await until(lambda: len(big.handled) == 8)
    assert [seqs for _, seqs in big.batches] == [[1, 2], [3, 4], [5, 6], [7, 8]]


@pytest.mark.parametrize("kind", ["entries", "others"])
async def test_the_loop_runs_between_two_turns(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A key that is typed takes some rounds until it is echoed, so there are several between two turns."""
    reader = Reader(monkeypatch)
    messages: list[ToClient] = [Done(seq) for seq in range(10)]
    if kind == "entries":
        messages = [entry(seq) for seq in range(1, 10 * BATCH_MESSAGES + 1)]
    reader.inbox.put(messages)
    sizes = [len(reader.handled)]
    while len(reader.handled) < len(messages):
        before = len(reader.handled)
        rounds = await until(partial(_has_more, reader, before))
        assert rounds >= inbox_module._ROUNDS
        sizes.append(len(reader.handled) - before)
    assert sizes == [BATCH_MESSAGES if kind == "entries" else 1] * 10
    assert reader.turns == 9


async def test_batches_are_as_large_as_there_is_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch, seconds=0.024)
    reader.inbox.put([entry(seq) for seq in range(1, 1001)])
    await until(lambda: not reader.inbox.is_behind)
    sizes = [len(seqs) for _, seqs in reader.batches]
    assert sizes[:5] == [BATCH_MESSAGES, BATCH_MESSAGES // 2, BATCH_MESSAGES // 4, 16, 16]
    reader.seconds = 0.001
    reader.inbox.put([entry(seq) for seq in range(1, 1001)])
    await until(lambda: not reader.inbox.is_behind)
    assert [len(seqs) for _, seqs in reader.batches[len(sizes) :]][:5] == [16, 32, 64, 128, 128]


async def test_a_turn_goes_on_with_what_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch, seconds=inbox_module._TURN_SECONDS / 4)
    reader.inbox.put([Done(seq) for seq in range(10)])
    assert len(reader.handled) == 4


async def test_a_steady_stream_of_messages_is_read_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch, seconds=0.0)
    due: list[tuple[float, Callable[..., None], tuple[object, ...]]] = []
    loop = asyncio.get_running_loop()

    def call_at(when: float, work: Callable[..., None], *rest: object) -> asyncio.TimerHandle:
        due.append((when, work, rest))
        return asyncio.TimerHandle(when, work, rest, loop)

    monkeypatch.setattr(loop, "call_at", call_at)
    for seq in range(1, 101):  # one each millisecond
        reader.inbox.put([entry(seq)])
        reader.now += 0.001
        while due and due[0][0] <= reader.now:
            _, work, rest = due.pop(0)
            work(*rest)
    sizes = [len(seqs) for _, seqs in reader.batches]
    assert sizes[: inbox_module._STREAK] == [1] * inbox_module._STREAK, "the first ones are read at once"
    assert 1 <= len(sizes[inbox_module._STREAK :]) <= 2
    assert reader.handled == [entry(seq) for seq in range(1, len(reader.handled) + 1)]
    reader.inbox.put([Done(1)])
    assert len(reader.handled) == 101, "what is no message is handled at once, after what came before it"
    reader.inbox.put([entry(101)])
    assert reader.batches[-1] == (ROOM, [101]), "and who talks to this device is answered at once"


async def test_many_messages_do_not_wait_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch, seconds=0.0)
    for seq in range(1, 6):
        reader.inbox.put([entry(seq)])
    assert len(reader.handled) == inbox_module._STREAK
    reader.inbox.put([entry(seq) for seq in range(6, 6 + BATCH_MESSAGES)])
    assert len(reader.handled) == 5 + BATCH_MESSAGES


async def test_reading_is_paused_while_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    seq = 0
    paused = False
    for _ in range(100):
        if not reader.connection.is_paused:
            reader.inbox.put([entry(seq + number) for number in range(1, 101)])
            seq += 100
        paused |= reader.connection.is_paused
        assert len(reader.inbox._waiting) <= inbox_module._HIGH + 100
        await asyncio.sleep(0)
    assert paused
    await until(lambda: not reader.inbox.is_behind)
    assert not reader.connection.is_paused
    assert len(reader.handled) == seq


async def test_an_error_ends_the_connection_and_drops_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    reader.fail_at = 200
    reader.inbox.put([entry(seq) for seq in range(1, 1001)])
    await until(lambda: reader.connection.error is not None)
    assert not reader.inbox.is_behind
    for _ in range(20):
        await asyncio.sleep(0)
    assert [seqs[0] for _, seqs in reader.batches] == [1]
    with pytest.raises(RelayFault):
        reader.inbox.put([entry(200)])


async def test_nothing_of_an_ended_connection_is_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    reader.inbox.put([entry(seq) for seq in range(1, 1001)])
    assert reader.connection.is_paused
    reader.inbox.clear()
    assert reader.connection.resumed == 1, "else it would stay silent after a defect"
    reader.inbox.put([Done(7)])
    for _ in range(20):
        await asyncio.sleep(0)
    assert reader.handled[BATCH_MESSAGES:] == [Done(7)]


# --- when entries were accepted ------------------------------------------------------------------------


def time(at: int, room: bytes = ROOM) -> AcceptedAt:
    return AcceptedAt(room, at)


async def test_times_stay_in_place_and_make_no_batch_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    messages: list[ToClient] = []
    for seq in range(1, 2 * BATCH_MESSAGES + 1):
        messages += [time(seq), entry(seq)]
    reader.inbox.put(messages)
    await until(lambda: not reader.inbox.is_behind)
    assert reader.handled == messages
    assert [len(seqs) for _, seqs in reader.batches] == [BATCH_MESSAGES] * 2


async def test_times_are_in_the_batches_of_their_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    here, there = time(1), time(2, OTHER)
    reader.inbox.put([here, there, entry(1), entry(1, room=OTHER), time(3), entry(2)])
    assert reader.batches == [(ROOM, [1, 2]), (OTHER, [1])]
    assert reader.handled == [here, entry(1), time(3), entry(2), there, entry(1, room=OTHER)]


async def test_times_alone_are_read_in_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    messages: list[ToClient] = [*map(time, range(3000)), Done(1), entry(1)]
    reader.inbox.put(messages)
    await until(lambda: not reader.inbox.is_behind)
    assert reader.handled == messages
    assert reader.batches == [(ROOM, []), (ROOM, [1])]


async def test_messages_with_their_times_may_wait_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch, seconds=0.0)
    for seq in range(1, 50):
        reader.inbox.put([time(seq), entry(seq)])
    assert len(reader.batches) == inbox_module._STREAK
    reader.inbox.put([time(50), Accepted(ROOM, 1, 50)])
    assert len(reader.handled) == 100, "an acknowledgement does not wait"
