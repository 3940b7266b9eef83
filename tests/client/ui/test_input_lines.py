from __future__ import annotations

import asyncio
import os
import resource

import pytest

from clave_client.ui.input_lines import read_byte_lines


async def lines_of(data: bytes, most: int = 100) -> list[bytes | None]:
    read, write = os.pipe()
    writing = asyncio.create_task(asyncio.to_thread(write_all, write, data))
    found = [line async for line in read_byte_lines(read, most)]
    await writing
    os.close(read)
    return found


def write_all(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"one\ntwo\n", [b"one", b"two"]),
        (b"one\r\ntwo", [b"one", b"two"]),
        (b"\n\n", [b"", b""]),
        (b"x" * 101 + b"\nnext\n", [None, b"next"]),
        (b"x" * 100 + b"\n" + b"y" * 300, [b"x" * 100, None]),
        (b"\xff\x00\n", [b"\xff\x00"]),
        (b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n", [b"one", b"\xef\xbb\xbftwo"]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbflast", [b"last"]),
    ],
)
async def test_lines_come_whole_or_not_at_all(data: bytes, lines: list[bytes | None]) -> None:
    assert await lines_of(data) == lines


async def test_a_line_without_end_takes_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read, write = os.pipe()

    def write_much() -> None:
        with os.fdopen(write, "wb") as file:
            for _ in range(200):
                file.write(bytes(2**20))

    writing = asyncio.create_task(asyncio.to_thread(write_much))
    assert [line async for line in read_byte_lines(read, 1000)] == [None]
    await writing
    os.close(read)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 20 * 1024
