"""The relay's mirror: one parseable line per event; names cannot break it."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from clave_server.observe.line_output import LineOutput
from clave_server.observe.mirror import ConnectionRecord, EntryRecord, Mirror
from clave_server.option_values import MirrorMode
from clave_wire import messages as m
from relaykit import ROOM, Participant, RelayProcess, RelayUnderTest, Told

NOW = dt.datetime(2030, 1, 2, 3, 4, 5, 678000, tzinfo=dt.UTC)
PAYLOAD_END = bytes(range(32))
ENTRY = EntryRecord("red", "192.0.2.7:5000", ROOM, 9, m.Kind.COMMIT, 512, PAYLOAD_END)
VISIT = ConnectionRecord("blue", "[2001:db8::1]:5000", "arrived")
EVIL = "\x1b]52;c;ZXZpbA==\x07\n2030-01-01 00:00:00  red\u202e\x9b2J"

SHORT_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)  (?P<name>\S+)  (?P<address>\S+:\d+)"
    r"  room (?P<room>[0-9a-f]{8})  seq (?P<seq>\d+)"
    r"  (?P<kind>application|proposal|commit)  (?P<size>\d+) B  \.\.(?P<piece>[0-9a-f]{0,16})"
)


def shown(
    mode: MirrorMode, records: Sequence[EntryRecord | ConnectionRecord], *, coloured: bool = False
) -> str:
    reading, writing = os.pipe()
    mirror = Mirror(mode, LineOutput(writing), coloured=coloured, clock=lambda: NOW, listener=Told())
    for record in records:
        if isinstance(record, EntryRecord):
            mirror.show_entries([record], 0)
        else:
            mirror.show_connection(record)
    mirror.stop()
    os.close(writing)
    with os.fdopen(reading) as file:
        return file.read()


def test_short_lines_have_a_shortened_room_id() -> None:
    assert shown(MirrorMode.SHORT, [ENTRY, VISIT]).splitlines() == [
        "2030-01-02 03:04:05  red  192.0.2.7:5000  room 00010203  seq 9  commit  512 B  ..18191a1b1c1d1e1f",
        "2030-01-02 03:04:05  blue  [2001:db8::1]:5000  arrived",
    ]


def test_full_lines_have_the_whole_room_id_and_more_ciphertext() -> None:
    (line,) = shown(MirrorMode.FULL, [ENTRY]).splitlines()
    assert f"room {ROOM.hex()}  " in line
    assert line.endswith(f"..{PAYLOAD_END.hex()}")


def test_json_lines() -> None:
    entry, visit = map(json.loads, shown(MirrorMode.JSON, [ENTRY, VISIT]).splitlines())
    assert entry == {
        "at": "2030-01-02T03:04:05.678+00:00",
        "event": "entry",
        "name": "red",
        "address": "192.0.2.7:5000",
        "room": ROOM.hex(),
        "seq": 9,
        "kind": "commit",
        "size": 512,
        "piece": PAYLOAD_END.hex(),
    }
    assert (visit["event"], visit["name"], visit["text"]) == ("visit", "blue", "arrived")


def test_mode_off_shows_nothing() -> None:
    assert shown(MirrorMode.OFF, [ENTRY, VISIT]) == ""


@pytest.mark.parametrize("mode", [MirrorMode.SHORT, MirrorMode.FULL, MirrorMode.JSON])
def test_a_name_cannot_add_lines_or_escape_sequences(mode: MirrorMode) -> None:
    text = shown(mode, [ENTRY._replace(name=EVIL), VISIT._replace(name=EVIL, event=EVIL)])
    assert len(text.splitlines()) == text.count("\n") == 2
    assert all(character.isprintable() or character == "\n" for character in text)


def test_colours_surround_single_fields() -> None:
    plain, coloured = shown(MirrorMode.SHORT, [ENTRY]), shown(MirrorMode.SHORT, [ENTRY], coloured=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain


def test_a_blocked_reader_blocks_nothing_and_gets_a_summary() -> None:
    reading, writing = os.pipe()
    mirror = Mirror(MirrorMode.SHORT, LineOutput(writing), coloured=False, clock=lambda: NOW, listener=Told())
    total = 50_000
    for number in range(total):
        mirror.show_entries([ENTRY._replace(seq=number)], 1)
    lines: list[str] = []

    def read() -> None:
        with os.fdopen(reading) as file:
            lines.extend(file)

    reader = threading.Thread(target=read)
    reader.start()
    mirror.stop()
    os.close(writing)
    reader.join()
    single = sum(1 for line in lines if SHORT_LINE.match(line))
    summed = sum(int(found[1]) for line in lines if (found := re.search(r"  (\d+) more lines", line)))
    assert single + summed == 2 * total
    assert summed > 0


def test_a_full_nonblocking_pipe_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(writing, b"-")
    told = Told()
    mirror = Mirror(MirrorMode.SHORT, LineOutput(writing), coloured=False, clock=lambda: NOW, listener=told)
    mirror.show_entries([ENTRY] * 1500, 0)  # more than the pipe holds
    mirror.stop()  # does not wait for ever
    assert told.reports == []
    text = b""
    while text.count(b"\n") < 1500:
        text += os.read(reading, 2**16)
    mirror.stop()
    os.close(writing)
    os.close(reading)
    assert all(SHORT_LINE.fullmatch(line) for line in text[filled:].decode().splitlines())


def test_a_closed_reader_is_reported_once() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    told = Told()
    mirror = Mirror(MirrorMode.SHORT, LineOutput(writing), coloured=False, clock=lambda: NOW, listener=told)
    mirror.show_entries([ENTRY], 0)
    mirror.stop()
    mirror.show_entries([ENTRY], 0)
    assert told.reports == [("ended", "")]
    os.close(writing)


async def test_a_relay_shows_logins_entries_and_disconnects(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    await red.say(b"\x00" * 100 + b"\x01\x02\x03\x04\x05\x06\x07\x08")
    await blue.expect(m.Entry)
    await blue.send(m.Goodbye())
    await red.next_presence()
    await relay.stop()
    lines = relay.mirror_text().splitlines()
    events = [line.split("  ")[1::2] for line in lines if not SHORT_LINE.fullmatch(line)]
    assert events[:2] == [["red", "registered"], ["blue", "registered"]]
    assert ["blue", "left"] in events
    commit, message = filter(None, map(SHORT_LINE.fullmatch, lines))
    assert (commit["name"], commit["kind"], commit["seq"]) == ("red", "commit", "1")
    assert (message["kind"], message["size"], message["piece"]) == ("application", "108", "0102030405060708")
    assert message["room"] == ROOM.hex()[:8]
    await relay.start()


async def test_a_process_writes_the_mirror_to_a_file_at_once(tmp_path: Path) -> None:
    async with RelayProcess(tmp_path / "data", "--mirror", "json") as process:
        from relaykit import RawClient

        client = await (await RawClient.connect(process.port)).log_in(Participant("red"))
        visit = json.loads(await process.next_line())
        assert (visit["name"], visit["text"]) == ("red", "registered")
        await client.create()
        await client.say(b"hello")
        entry = json.loads(await process.next_line())
        assert (entry["kind"], entry["size"], entry["piece"]) == ("application", 5, b"hello".hex())
        await client.close()
