"""A group for one side to be measured in, and the operations measured there. Times nothing."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Sequence

from bench.mls.sides import Member, Side, Theirs

__all__ = ["OPERATIONS", "Scene"]

MESSAGE = bytes(100)

REPEATS = 5
"""Messages encrypted, and decrypted, after the first of an epoch."""


class Scene:
    """A group of `size`, its founder on mls-rs at leaf 0, `side` at the last leaf joining again and again.

    What the founder sends is made once and processed after each joining: data, then two updates, then the
    adding and the removal of a newcomer.
    """

    def __init__(self, side: Side, size: int, fillers: Sequence[Theirs]) -> None:
        founder = Theirs()
        between = fillers[: size - 2]
        self.side, self.size = side, size
        self.leaf_to_remove = size // 2 if between else 0
        self.to_remove = between[self.leaf_to_remove - 1] if between else founder
        self.newcomer = fillers[-1]
        group = founder.create()
        commit, self.welcome = group.add_all([one.offer() for one in (*between, side)])
        group.process(commit)
        self.data = [group.encrypt(MESSAGE) for _ in range(REPEATS + 1)]
        self.commits: list[bytes] = []
        for make in (
            group.update,
            group.update,
            lambda: group.add(self.newcomer.offer()),
            lambda: group.remove(size, self.newcomer),
        ):
            self.commits.append(make())
            group.process(self.commits[-1])
        self.member: Member
        self.sent: dict[str, int] = {}

    def forget(self) -> None:
        """Empty every cache of keys and contents, so that the next joining is the first.

        Those have a limit; what has none is compiled once in a process, like the struct's codecs.
        """
        for thing in gc.get_objects():
            is_cache = isinstance(thing, functools._lru_cache_wrapper)
            if (
                is_cache
                and thing.__module__.startswith("clave_crypto")
                and thing.cache_parameters()["maxsize"]
            ):
                thing.cache_clear()
        self.offered = self.newcomer.offer()
        gc.collect()

    def offer(self) -> None:
        """Make a key package."""
        self.side.offer()

    def join(self) -> None:
        """Join as if for the first time."""
        self.member = self.side.join(self.welcome)
        self.unread = iter(self.data)

    def encrypt(self) -> None:
        """Encrypt 100 bytes."""
        self.sent["encrypt"] = len(self.member.encrypt(MESSAGE))

    def decrypt(self) -> None:
        """Decrypt the founder's next 100 bytes."""
        self.member.process(next(self.unread))

    def process(self, number: int) -> None:
        """Process one of the founder's commits."""
        self.member.process(self.commits[number])

    def update(self) -> None:
        """Make new keys of one's own."""
        self.sent["self-update"] = len(self.member.update())

    def remove(self) -> None:
        """Remove a member."""
        self.sent["remove one"] = len(self.member.remove(self.leaf_to_remove, self.to_remove))

    def add(self) -> None:
        """Add a member."""
        self.sent["add one"] = len(self.member.add(self.offered))


OPERATIONS: Sequence[tuple[str, Callable[[Scene], None]]] = (
    ("create key package", Scene.offer),
    ("", Scene.forget),
    ("join from Welcome", Scene.join),
    ("encrypt, first of epoch", Scene.encrypt),
    *[("encrypt 100 B", Scene.encrypt)] * REPEATS,
    ("decrypt, first of epoch", Scene.decrypt),
    *[("decrypt 100 B", Scene.decrypt)] * REPEATS,
    ("process update, cold", lambda scene: scene.process(0)),
    ("process update, warm", lambda scene: scene.process(1)),
    ("process add", lambda scene: scene.process(2)),
    ("process remove", lambda scene: scene.process(3)),
    ("", Scene.forget),
    ("join from Welcome", Scene.join),
    ("self-update", Scene.update),
    ("", Scene.forget),
    ("join from Welcome", Scene.join),
    ("remove one", Scene.remove),
    ("", Scene.forget),
    ("join from Welcome", Scene.join),
    ("add one", Scene.add),
)
"""What is measured, in order, under the name it is reported by; the nameless is not measured."""
