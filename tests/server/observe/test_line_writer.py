"""Lines while their file cannot be written, and when it is rotated: none is lost unsaid, none is cut."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clave_server.errors import StartError
from clave_server.observe import line_writer
from clave_server.observe.line_output import LineOutput
from clave_server.observe.line_writer import Gap, LineWriter
from commandkit import limited
from relaykit import PATIENCE_SECONDS, Participant, RawClient, RelayProcess, Told

FILE_LIMIT = 1024 * 1024


class Limit:
    """A file in which this process can write no more, as on a full disk, until `lift`."""

    def __init__(self, path: Path) -> None:
        self._former = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, self._former[1]))

    def lift(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._former)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "lines"
    path.write_text("of before\n")
    return path


@pytest.fixture
def full(path: Path) -> Iterator[Limit]:
    limit = Limit(path)
    yield limit
    limit.lift()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_writer, "RETRY_SECONDS", 0.01)


def writer_to(path: Path, told: Told) -> LineWriter[int]:
    return LineWriter[int](LineOutput.open(path), lambda number: f"line {number}\n", summary, told)


def summary(gap: Gap) -> str:
    return f"gap of {gap.lines}: {gap.reason}\n"


def test_lines_that_cannot_be_written_are_written_later(path: Path, full: Limit) -> None:
    told = Told()
    writer = writer_to(path, told)
    writer.put(range(100))
    assert told.wait_for("failed") == "File too large"
    full.lift()
    assert told.wait_for("recovered") == 0
    writer.put([100])
    writer.stop(timeout=10)
    assert path.read_text() == "of before\n" + "".join(f"line {number}\n" for number in range(101))


def test_lines_that_do_not_fit_into_memory_meanwhile_are_counted(path: Path, full: Limit) -> None:
    told = Told()
    writer = writer_to(path, told)
    writer.put(range(10))
    told.wait_for("failed")
    for number in range(10, 5000):
        writer.put([number])
    full.lift()
    lost = told.wait_for("recovered")
    writer.stop(timeout=10)
    _, *lines, last = path.read_text().splitlines()
    assert last == f"gap of {lost}: File too large"
    assert lines == [f"line {number}" for number in range(len(lines))]
    assert isinstance(lost, int)
    assert len(lines) + lost == 5000


def test_a_file_truncated_to_make_room_begins_with_a_whole_line(path: Path, full: Limit) -> None:
    told = Told()
    writer = writer_to(path, told)
    writer.put(range(10))
    told.wait_for("failed")  # within the second line
    path.write_text("")
    full.lift()
    assert told.wait_for("recovered") == 1
    writer.stop(timeout=10)
    kept = [f"line {number}" for number in range(2, 10)]
    assert path.read_text().splitlines() == [*kept, "gap of 1: File too large"]


def test_a_writer_stops_at_once_while_its_disk_is_full(path: Path, full: Limit) -> None:
    told = Told()
    writer = writer_to(path, told)
    writer.put(range(10))
    told.wait_for("failed")
    writer.stop(timeout=60)
    assert "line writer" not in {thread.name for thread in threading.enumerate()}


def test_a_renamed_file_is_followed_by_a_new_one(path: Path) -> None:
    told = Told()
    writer = writer_to(path, told)
    writer.put([1])
    writer.reopen()
    writer.stop(timeout=10)
    path.rename(path.with_suffix(".1"))
    writer = writer_to(path.with_suffix(".1"), told)
    writer.put([2])
    writer.stop(timeout=10)
    assert path.with_suffix(".1").read_text() == "of before\nline 1\nline 2\n"


def test_a_file_that_cannot_be_opened_anew_leaves_the_former_one(path: Path) -> None:
    told = Told()
    writer = writer_to(path, told)
    moved = path.with_suffix(".1")
    path.rename(moved)
    path.mkdir()
    writer.reopen()
    assert told.wait_for("not reopened") == "Is a directory"
    writer.put([1])
    writer.stop(timeout=10)
    assert moved.read_text() == "of before\nline 1\n"


def test_a_file_that_cannot_be_opened_is_an_error_of_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot write to .*: Is a directory"):
        LineOutput.open(tmp_path)


# --- the relay -----------------------------------------------------------------------------------------


async def test_a_full_disk_interrupts_the_mirror_of_a_relay_and_does_not_end_it(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.write_text("{}\n" * (FILE_LIMIT // 3 - 200))
    with mirror.open("r+") as file:  # not for appending, as a shell redirects
        file.seek(0, os.SEEK_END)
        process = await asyncio.create_subprocess_exec(
            *limited("RLIMIT_FSIZE", FILE_LIMIT, "-m", "clave_server", "--mirror", "json"),
            *("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data")),
            stdout=file,
            stderr=asyncio.subprocess.PIPE,
        )
    assert process.stderr
    async with asyncio.timeout(PATIENCE_SECONDS):
        await reads(mirror, '"listening"')
        port = int(json.loads(mirror.read_text().splitlines()[-1])["address"].rpartition(":")[2])
        client = await (await RawClient.connect(port)).log_in(Participant("red"))
        await client.create()
        for _ in range(30):
            await client.say(b"hello")
        assert b"mirror not written" in await logged(process.stderr, b"mirror not written")
        os.truncate(mirror, 0)
        assert b"lost=1" in await logged(process.stderr, b"mirror written again")
        await client.say(b"the last")
        await client.close()
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    lines = [json.loads(line) for line in mirror.read_text().splitlines()]
    assert [line["reason"] for line in lines if line["event"] == "lost"] == ["File too large"]
    assert max(line.get("seq", 0) for line in lines) == 31


async def logged(log: asyncio.StreamReader, words: bytes) -> bytes:
    """Return the next line of a log with `words`."""
    while words not in (line := await log.readline()):
        assert line, "the log ended"
    return line


def read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


async def reads(path: Path, words: str = "") -> None:
    """Wait until there is a file that has `words`."""
    while (text := read(path)) is None or words not in text:  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # a file tells nobody


async def test_sighup_opens_mirror_and_log_anew(tmp_path: Path) -> None:
    mirror, log = tmp_path / "mirror.log", tmp_path / "relay.log"
    options = ("--mirror-file", str(mirror), "--log-file", str(log), "--log-level", "debug")
    async with RelayProcess(tmp_path / "data", *options, ready=False) as process:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await reads(mirror, "\n")
            assert mirror.read_text().startswith("listening on 127.0.0.1:")
            assert "  listening  address=127.0.0.1:" in log.read_text()
            port = int(mirror.read_text().split()[2].rpartition(":")[2])
            for file in (mirror, log):
                assert file.stat().st_mode & 0o777 == 0o600
                file.rename(file.with_suffix(".1"))
            os.kill(process.pid, signal.SIGHUP)
            await reads(mirror)
            await reads(log)
            client = await (await RawClient.connect(port)).log_in(Participant("red"))
            await reads(mirror, "registered")
            await client.close()
        process.process.terminate()
        assert await process.last_words() == ""
    assert "registered" not in mirror.with_suffix(".1").read_text()


async def test_json_is_json_from_the_first_byte(tmp_path: Path) -> None:
    async with RelayProcess(tmp_path / "data", "--mirror", "json") as process:
        first = json.loads(process.first_line)
    assert first["event"] == "listening"
    assert first["address"].startswith("127.0.0.1:")
    assert len(first["fingerprint"].split()) == 16
