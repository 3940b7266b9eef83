"""Jobs run one at a time, in order; cancelling one leaves the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from clave_client.ui.terminal.input_queue import InputQueue, Job


class Recorder:
    def __init__(self) -> None:
        self.seconds = 0.0
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.cancelled: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.news = asyncio.Event()
        self.queue = InputQueue(
            lambda: self.seconds, self.news.set, lambda job: self.cancelled.append(job.label)
        )

    def put(self, label: str, run: Callable[[], Awaitable[None]] | None = None) -> None:
        gate = self.gates[label] = asyncio.Event()

        async def wait() -> None:
            self.begun.append(label)
            self.news.set()
            await gate.wait()
            self.ended.append(label)

        self.queue.put(Job(label, run or wait))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await self.news.wait()
                self.news.clear()


@asynccontextmanager
async def running() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    task = asyncio.create_task(recorder.queue.run())
    try:
        yield recorder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_jobs_run_one_at_a_time_in_order() -> None:
    async with running() as recorder:
        for label in "abc":
            recorder.put(label)
        for before, label in enumerate("abc"):
            await recorder.until(lambda label=label: recorder.begun[-1:] == [label])  # type: ignore[misc]
            assert len(recorder.ended) == before
            assert recorder.queue.running is not None
            assert recorder.queue.running.label == label
            assert [job.label for job in recorder.queue.waiting] == list("abc"[before + 1 :])
            recorder.gates[label].set()
        await recorder.until(lambda: recorder.ended == list("abc"))
        await recorder.until(lambda: recorder.queue.running is None)


async def test_cancelling_ends_one_job_once_and_goes_on_with_the_next() -> None:
    async with running() as recorder:
        recorder.put("a")
        recorder.put("b")
        await recorder.until(lambda: recorder.begun == ["a"])
        assert recorder.queue.is_cancellable()
        recorder.queue.cancel()
        assert not recorder.queue.is_cancellable()
        await recorder.until(lambda: recorder.begun == ["a", "b"])
        assert recorder.cancelled == ["a"]
        recorder.gates["b"].set()
        await recorder.until(lambda: recorder.ended == ["b"])
        recorder.queue.cancel()
        assert recorder.cancelled == ["a"]


async def test_the_time_a_job_runs_is_known() -> None:
    async with running() as recorder:
        assert recorder.queue.seconds == 0
        recorder.seconds = 5
        recorder.put("a")
        await recorder.until(lambda: recorder.begun == ["a"])
        recorder.seconds = 7.5
        assert recorder.queue.seconds == 2.5


async def test_an_error_of_a_job_is_raised() -> None:
    recorder = Recorder()

    async def fail() -> None:
        raise ValueError("of the job")

    recorder.put("a", fail)
    with pytest.raises(ValueError, match="of the job"):
        await recorder.queue.run()


async def test_cancelling_the_queue_waits_for_the_job_to_end() -> None:
    ended = asyncio.Event()
    async with running() as recorder:

        async def clean_up() -> None:
            recorder.begun.append("a")
            recorder.news.set()
            try:
                await asyncio.Event().wait()
            finally:
                for _ in range(10):
                    await asyncio.sleep(0)
                ended.set()

        recorder.put("a", clean_up)
        await recorder.until(lambda: recorder.begun == ["a"])
    assert ended.is_set()
    assert recorder.cancelled == []
