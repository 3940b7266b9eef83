"""What an application stores of a group: bytes per commit, and the time from restoring to the first data."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from bench.mls.sides import Ours, Theirs
from clave_crypto.mls import Group, GroupState, NoPolicy, StateChange

__all__ = ["print_storing"]

MOST_BYTES = 64 * 1024
"""Bytes per commit in a group of 10,000, of the group and of a pending commit apart from what it sends."""

RESTORE_TARGET = 0.5
"""The ratio of the times from restoring to the first decryption, pages over the whole tree."""

ROUNDS = 7

_WIDTHS = (12, 9, 9, 12, 9, 8, 15)


class _CountedPages(Mapping[int, bytes]):
    """Stored pages, and how many were read."""

    def __init__(self, pages: Mapping[int, bytes]) -> None:
        self._pages = pages
        self.read = 0

    def __getitem__(self, page: int) -> bytes:
        self.read += 1
        return self._pages[page]

    def __iter__(self) -> Iterator[int]:
        return iter(self._pages)

    def __len__(self) -> int:
        return len(self._pages)


def print_storing(sizes: Sequence[int]) -> None:
    """Print what storing costs in groups of these sizes, by `changes` and by `state`."""
    print(
        "\nstoring: bytes per commit followed, of a pending commit but for its message, and ms from restoring"
    )
    print("to the first decryption; before: by `state`, with the whole tree; now: by `changes`")
    columns = ("before", "now", "pending", "before", "now", "ratio", "pages read")
    print(f"{'':5}" + "".join(f"{name:>{width}}" for name, width in zip(columns, _WIDTHS, strict=True)))
    for size in sizes:
        founder, joiner = Theirs(), Ours()
        founders = founder.create()
        offers = [*(Theirs().offer() for _ in range(size - 2)), joiner.offer()]
        commit, welcome = founders.add_all(offers)
        founders.process(commit)
        group = joiner.join(welcome).group
        group.changes()
        update = founders.update()
        founders.process(update)
        group.receive(update)
        now, before = _size(group.changes()), len(group.state().epoch)
        pending = group.commit(now=int(time.time()))
        pending_size = len(pending.encode()) - len(pending.message)

        whole = group.state()
        parts = Group.restore(whole, policy=NoPolicy()).changes()
        pages = _CountedPages(parts.pages)
        message = founders.encrypt(bytes(100))
        paged_time = _time(GroupState(parts.epoch or b"", parts.ratchets or b"", pages), message)
        whole_time = _time(whole, message)
        ratio = paged_time / whole_time
        print(
            f"{size:5}{before:12}{now:9}{pending_size:9}{whole_time * 1e3:12.2f}{paged_time * 1e3:9.2f}"
            f"{ratio:8.3f}{f'{pages.read // ROUNDS} of {len(pages)}':>15}",
            flush=True,
        )
    verdict = "reached" if max(now, pending_size) <= MOST_BYTES else "missed"
    print(f"target <= {MOST_BYTES} bytes per commit and pending commit: {verdict}")
    print(f"target <= {RESTORE_TARGET:.1f} of the time: {'reached' if ratio <= RESTORE_TARGET else 'missed'}")


def _time(state: GroupState, message: bytes) -> float:
    """Return the median seconds from a stored state to the first decryption."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        Group.restore(state, policy=NoPolicy()).receive(message)
        times.append(time.perf_counter() - begin)
    return median(times)


def _size(change: StateChange) -> int:
    return len(change.epoch or b"") + len(change.ratchets or b"") + sum(map(len, change.pages.values()))
