"""A disk under SQLite that fails as it is told to, or loses its power: a VFS in place of the default one.

A kill leaves what was written in the system's cache; a power cut leaves what was synced, and of the rest
whatever sectors had reached the disk by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Self

import apsw

if TYPE_CHECKING:
    from relaykit import RelayUnderTest

_BENEATH = "multipleciphers-unix"
_SECTOR = 512


class Disk(apsw.VFS):
    """Stands in as the default VFS of this process while it is entered.

    Calls named in `failing` ("write", "sync"; "full" fails writes another way) fail while they are in it, and
    reads of the bytes of the database that are `unreadable`.
    """

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.unreadable = range(0)
        self.files: dict[Path, _Content] = {}
        self._steps_left = -1
        self._then: Callable[[], object] = lambda: None
        super().__init__("disk under test", _BENEATH, makedefault=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unregister()

    def cut_power_after(self, steps: int, then: Callable[[], object]) -> None:
        """Have nothing reach the disk after so many more writes and syncs; call `then`, on any thread."""
        self._steps_left, self._then = steps, then

    @property
    def dead(self) -> bool:
        """Whether the power is gone."""
        return self._steps_left == 0

    def leave(self, folder: Path, dice: Random) -> None:
        """Write to `folder` what is found on the disk when the power is back."""
        for path, content in self.files.items():
            (folder / path.name).write_bytes(content.after_a_cut(dice))
            (folder / path.name).chmod(0o600)

    def step(self, call: str) -> None:
        """Fail if that is what `call` is to do now."""
        if self.dead:
            raise apsw.IOError("no power")
        self._steps_left -= 1
        if self._steps_left == 0:
            self._then()
        if "full" in self.failing and call == "write":
            raise apsw.FullError("disk full")
        if call in self.failing:
            raise apsw.IOError(f"cannot {call}")

    def check_readable(self, path: Path | None, offset: int, amount: int) -> None:
        """Fail if the bytes cannot be read."""
        bad = self.unreadable
        if self.dead or (path and path.suffix == ".db" and offset < bad.stop and bad.start < offset + amount):
            raise apsw.IOError("cannot read")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.step("write")
        self.files.pop(Path(filename), None)
        super().xDelete(filename, syncdir)


class _Content:
    """A file as it is on the disk for certain, and what was done to it since."""

    def __init__(self, synced: bytes) -> None:
        self._synced = bytearray(synced)
        self._since: list[Callable[[bytearray, Random | None], None]] = []

    def write(self, data: bytes, offset: int) -> None:
        """Write; in a cut each sector may get there or not."""

        def apply(content: bytearray, dice: Random | None) -> None:
            content.extend(bytes(max(0, offset + len(data) - len(content))))
            for start in range(0, len(data), _SECTOR):
                piece = data[start : start + _SECTOR]
                if dice is None or dice.random() < 0.5:
                    content[offset + start : offset + start + len(piece)] = piece

        self._since.append(apply)

    def truncate(self, size: int) -> None:
        """Truncate, which may be lost too."""

        def apply(content: bytearray, dice: Random | None) -> None:
            if dice is None or dice.random() < 0.5:
                del content[size:]

        self._since.append(apply)

    def sync(self) -> None:
        """Make all that was done last."""
        for apply in self._since:
            apply(self._synced, None)
        self._since.clear()

    def after_a_cut(self, dice: Random) -> bytes:
        """Return what is there after the power was gone: all, nothing or a part of what was not synced."""
        content = bytearray(self._synced)
        mood = dice.choice(["all", "none", "some"])
        for apply in self._since if mood != "none" else []:
            apply(content, None if mood == "all" else dice)
        return bytes(content)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._path: Path | None = None
        self._content: _Content | None = None
        super().__init__(_BENEATH, name, flags)
        if name is not None:
            self._path = Path(name if isinstance(name, str) else name.filename())
            self._content = disk.files.setdefault(self._path, _Content(self._path.read_bytes()))

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.check_readable(self._path, offset, amount)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.step("write")
        super().xWrite(data, offset)
        if self._content:
            self._content.write(bytes(data), offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.step("write")
        super().xTruncate(newsize)
        if self._content:
            self._content.truncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.step("sync")
        super().xSync(flags)
        if self._content:
            self._content.sync()


async def limit_pages(relay: RelayUnderTest, *, spare: int | None) -> None:
    """Have SQLite report a full disk once `spare` more pages are used; None lifts it."""
    done = asyncio.Event()

    def step(connection: apsw.Connection) -> None:
        pages = int(str(connection.pragma("page_count")))
        connection.pragma("max_page_count", 2**30 if spare is None else pages + spare)

    relay.sequencer.submit(step, lambda _: done.set())
    await done.wait()
