"""Measures the full-text search: pages of results in a large history, the index's size and cost.

Run as `python -m bench.client.searching`; `make bench-search` does. Two stores get the same messages
by turns, one without the index. Prints a table.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any, Final

import click

from bench.client.backlog import Backlog, Writers
from bench.client.catching_up import p99
from bench.client.chat_texts import ChatTexts
from bench.client.population import Relay
from clave_client.store.database import Store
from clave_client.store.message_tables import HistoryLine
from clave_client.store.search_index import SEARCH_SCHEMA, SearchIndex, index_all
from clave_crypto.keys import Secret

_BATCH: Final = 64
"""Messages of one transaction, about as many as are read at once when catching up."""

_ROOMS: Final = 100
_SENDERS: Final = 200
_DAY: Final = 86_400_000
_PAGES: Final = 50

_RELAY_PORT: Final = 7650
_MISSED: Final = 20_000
"""Messages that are received at once for one sample."""

_LIVE: Final = 2000
_LIVE_RATE: Final = 500
"""Messages that are received as they are said, and how many a second."""

_PAGE_TARGET: Final = 50.0
_SIZE_TARGET: Final = 0.8
_COST_TARGET: Final = 1.2


class _NoIndex(SearchIndex):
    def add(self, row: int, room: int, sender: int, text: str) -> None:
        pass


class _History:
    """A store with messages of a year, in a hundred rooms of very different size."""

    def __init__(self, folder: Path, count: int) -> None:
        self.count = count
        self.path, self.bare_path = folder / "store.db", folder / "bare.db"
        self.store, self.bare = (Store(path, Secret(bytes(32))) for path in (self.path, self.bare_path))
        self.bare.index = _NoIndex(self.bare)
        self.texts = ChatTexts()
        self.text_bytes = 0
        self.seconds: dict[Store, list[float]] = {self.store: [], self.bare: []}
        self.end = 1_800_000_000_000
        self._random = random.Random(2)  # noqa: S311 (no secret)

    def fill(self) -> None:
        rooms = list(accumulate(1 / (number + 1) ** 1.5 for number in range(_ROOMS)))
        begin = self.end - 365 * _DAY
        for first in range(0, self.count, _BATCH):
            numbers = range(first, min(first + _BATCH, self.count))
            lines = [
                (
                    self._random.choices(range(_ROOMS), cum_weights=rooms)[0].to_bytes(16, "big"),
                    self._line(number, begin + number * 365 * _DAY // self.count),
                )
                for number in numbers
            ]
            for store in (self.store, self.bare) if first // _BATCH % 2 else (self.bare, self.store):
                start = time.process_time()
                with store.unsynced(), store.transaction():
                    for room, line in lines:
                        store.add_message(room, line)
                self.seconds[store].append(time.process_time() - start)

    def _line(self, number: int, sent_at: int) -> HistoryLine:
        text = self.texts.text()
        self.text_bytes += len(text.encode())
        sender = min(int(self._random.expovariate(0.05)), _SENDERS - 1)
        device = sender.to_bytes(32, "big")
        late = self._random.randint(0, _DAY) if self._random.random() < 0.1 else 0
        return HistoryLine(
            number + 1, device, device, f"person {sender}", self._random.randbytes(32), text, sent_at - late
        )

    def size(self, store: Store, table: str = "") -> int:
        """Return the bytes of a store, or of its tables whose names begin with `table`."""
        if not table:
            store.run("PRAGMA wal_checkpoint(TRUNCATE)")
            return store.integer("SELECT page_count FROM pragma_page_count()") * 4096
        sql = "SELECT sum(length(block)) FROM messages_search_data"
        rest = "SELECT sum(length(term) + 8) FROM messages_search_idx"
        return store.integer(sql) + store.integer(rest)

    def room(self, number: int) -> int:
        return self.store.room_number(number.to_bytes(16, "big"))

    def sender(self, number: int) -> int:
        device = number.to_bytes(32, "big")
        return self.store.sender_number((device, device, f"person {number}"))


def _cases(history: _History) -> dict[str, tuple[str, dict[str, Any]]]:
    words, han = history.texts.words, history.texts.han
    rare, new = history.room(_ROOMS - 1), history.end - _DAY
    return {
        "the most common word": (words[0], {}),
        "a common word": (words[20], {}),
        "a rare word": (words[-5], {}),
        "no word that there is": ("wordless", {}),
        "three common words": (" ".join(words[:3]), {}),
        "ten common words": (" ".join(words[:10]), {}),
        "two common words, never together": (f"{words[0]} {han[0]}", {}),
        "common word, rare room": (words[0], {"room": rare}),
        "common word, rare sender": (words[0], {"senders": [history.sender(_SENDERS - 1)]}),
        "common word, 10 blocked people": (words[0], {"without": [history.sender(n) for n in range(10)]}),
        "common word, since yesterday": (words[0], {"since": new}),
        "rare word, since yesterday": (words[20_000], {"since": new}),
        "rare word, since a month": (words[20_000], {"since": new - 30 * _DAY}),
        "two words never together, since": (f"{words[0]} {han[0]}", {"since": new - 300 * _DAY}),
        "phrase of Chinese": (han[0] + han[1] + han[2], {}),
        "phrase of Chinese that is nowhere": (han[0] + han[2] + han[0] + han[1] + han[3] + han[0], {}),
        "an emoji": ("\U0001f44d", {}),
        "a rare emoji": ("\U0001f422", {}),
        "the most common word, oldest page": (words[0], {"before": 1000}),
    }


def _measure(history: _History) -> dict[str, list[float]]:
    """Return the milliseconds of first pages, by what was searched for; the second of each on."""
    found: dict[str, list[float]] = {}
    for _ in range(_PAGES + 1):
        for name, (words, options) in _cases(history).items():
            begin = time.perf_counter()
            query = history.store.index.words(words)
            rows, _ = history.store.index.find(query, **options)
            for _, _, line in history.store.lines_at(rows):
                query.marks(line.text)
            found.setdefault(name, []).append((time.perf_counter() - begin) * 1e3)
    return {name: samples[1:] for name, samples in found.items()}


@dataclass
class _Received:
    """Processor time in microseconds a message: of what was missed, and of what was received live."""

    missed: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)


async def _receive(folder: Path, repeat: int) -> tuple[_Received, _Received]:
    """Return what receiving costs with the index and without it, measured by turns."""
    home, relay, texts = folder / "home", Relay(folder / "relay", _RELAY_PORT), ChatTexts()
    found = _Received(), _Received()
    with relay.running():
        backlog, writers = await Writers.make(home, relay, "late", _MISSED, lambda _: texts.text())
        for _ in range(repeat):
            for result, words in zip(found, ([], ["plain"]), strict=True):
                copy = folder / "copy"
                (copy / "profiles").mkdir(mode=0o700, parents=True)
                copy.chmod(0o700)
                shutil.copytree(home / "profiles" / backlog.name, copy / "profiles" / backlog.name)
                await _receive_once(result, copy, backlog, writers, words)
                shutil.rmtree(copy)
        await writers.close()
    return found


async def _receive_once(
    result: _Received, home: Path, backlog: Backlog, writers: Writers, words: list[str]
) -> None:
    last, target = writers.last, writers.last + _LIVE
    place = [str(home), backlog.name, backlog.room.hex(), str(last), str(target)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.client.receiver", *place, *words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=2**26,
    )
    assert process.stdin is not None  # noqa: S101 (it is a pipe)
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    missed = json.loads(await process.stdout.readline())
    process.stdin.write(b"\n")
    await process.stdout.readline()
    await writers.write_evenly(_LIVE, _LIVE_RATE)
    live = json.loads(await process.stdout.readline())
    await process.communicate()
    result.missed.append(missed["processor"] / missed["count"] * 1e6)
    result.live.append(live["processor"] / live["count"] * 1e6)


@click.command()
@click.option("--messages", type=click.IntRange(1000), default=200_000, show_default=True)
@click.option("--receive", type=click.IntRange(0), default=5, show_default=True, help="Samples of receiving.")
def main(messages: int, receive: int) -> None:
    """Measure the search in a history of so many messages, and what the index costs in receiving."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the relay is stopped
    print(f"{os.cpu_count()} cores; load before: {os.getloadavg()[0]:.2f}; {messages} messages")
    with tempfile.TemporaryDirectory(prefix="clave-bench-") as folder:
        history = _History(Path(folder), messages)
        history.fill()
        _print_cost(history)
        _print_pages(_measure(history))
        _print_migration(history)
    with tempfile.TemporaryDirectory(prefix="clave-bench-") as folder:
        if receive:
            _print_receiving(*asyncio.run(_receive(Path(folder), receive)))


def _print_pages(pages: dict[str, list[float]]) -> None:
    print(f"\n{'first page, warm':44}{'p50 ms':>9}{'p99 ms':>9}")
    for name, samples in pages.items():
        worst = p99(samples)
        print(f"{name:44}{median(samples):9.2f}{worst:9.2f}  {_judged(worst, _PAGE_TARGET)}")


def _print_cost(history: _History) -> None:
    store, bare = history.store, history.bare
    per_text = history.size(store, "messages_search") / history.text_bytes
    whole, without = history.size(store), history.size(bare)
    print(f"\n{'bytes of text a message':44}{history.text_bytes / history.count:9.1f}")
    print(f"{'index in the size of the text':44}{per_text:9.2f}  {_judged(per_text, _SIZE_TARGET)}")
    pages = (whole - without) / history.text_bytes
    print(f"{'its pages in the size of the text':44}{pages:9.2f}  {_judged(pages, _SIZE_TARGET)}")
    print(f"{'bytes a message in the store':44}{whole / history.count:9.1f}")
    print(f"{'without the index':44}{without / history.count:9.1f}")
    with_index, plain = (sum(history.seconds[each]) / history.count * 1e6 for each in (store, bare))
    print(f"{'storing a message, microseconds':44}{with_index:9.1f}")
    print(f"{'without the index':44}{plain:9.1f}")
    print(f"{'ratio':44}{with_index / plain:9.2f}")


def _print_migration(history: _History) -> None:
    begin = time.perf_counter()
    with history.bare.transaction():
        history.bare.run("DROP TABLE messages_search")
        history.bare.run("DROP TABLE search_times")
        history.bare.connection.execute(SEARCH_SCHEMA)
        index_all(history.bare.connection)
    print(f"\n{'indexing all in the migration, seconds':44}{time.perf_counter() - begin:9.1f}")
    print(
        f"{'its index in the size of the text':44}{history.size(history.bare, 'x') / history.text_bytes:9.2f}"
    )


def _print_receiving(indexed: _Received, plain: _Received) -> None:
    print()
    for name, ones, others in (
        ("missed", indexed.missed, plain.missed),
        (f"live, {_LIVE_RATE} a second", indexed.live, plain.live),
    ):
        print(f"{f'receiving, {name}: microseconds':44}{median(ones):9.1f}")
        print(f"{'without the index':44}{median(others):9.1f}")
        ratio = median(one / other for one, other in zip(ones, others, strict=True))
        print(f"{'ratio':44}{ratio:9.2f}  {_judged(ratio, _COST_TARGET)}")


def _judged(value: float, bound: float) -> str:
    return f"<= {bound:g}: {'reached' if value <= bound else 'MISSED'}"


if __name__ == "__main__":
    main()
