from __future__ import annotations

import asyncio
import os

from clave_client.ui.line_reader import read_lines


async def test_lines_are_yielded_as_written_until_the_end() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as source, os.fdopen(writing, "w", encoding="utf-8") as sink:
        lines = read_lines(source)
        sink.write("one\ntwo\r\n\nlast")
        sink.flush()
        assert [await anext(lines) for _ in range(3)] == ["one", "two", ""]
        sink.close()
        assert [line async for line in lines] == ["last"]


async def test_a_fast_source_waits_for_a_slow_reader() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as source:

        def pour() -> None:
            with os.fdopen(writing, "w", encoding="utf-8") as sink:
                sink.writelines(f"{number}\n" for number in range(5000))

        pouring = asyncio.create_task(asyncio.to_thread(pour))
        seen = [line async for line in read_lines(source)]
        await pouring
    assert seen == [str(number) for number in range(5000)]


async def test_invalid_utf8_is_replaced() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"caf\xe9\nnext\n")
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as source:
        assert [line async for line in read_lines(source)] == ["caf\ufffd", "next"]
