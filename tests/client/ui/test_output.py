from __future__ import annotations

import asyncio
import os

import pytest

from clave_client.ui.output import Output


async def test_pieces_are_written_in_order_and_whole() -> None:
    read, write = os.pipe()
    output = Output(write)
    pieces = [f"{number} ".encode() * 5000 for number in range(20)]
    for piece in pieces:
        output.put(piece)
    taken = b""
    while len(taken) < sum(map(len, pieces)):
        taken += await asyncio.to_thread(os.read, read, 65536)
    await output.flush()
    assert taken == b"".join(pieces)
    for descriptor in (read, write):
        os.close(descriptor)


async def test_the_loop_goes_on_while_nobody_reads() -> None:
    read, write = os.pipe()
    writing = asyncio.create_task(Output(write).write(bytes(2**20)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not writing.done()
    taken = 0
    while taken < 2**20:
        taken += len(await asyncio.to_thread(os.read, read, 65536))
    await writing
    for descriptor in (read, write):
        os.close(descriptor)


async def test_a_reader_that_is_gone_is_an_error() -> None:
    read, write = os.pipe()
    os.close(read)
    output = Output(write)
    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            await output.write(b"nobody")
    os.close(write)
