"""What is driven: how many clients in which rooms, who talks, how many messages are under way."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GROWTH", "SCENES", "Scene"]


@dataclass(frozen=True)
class Scene:
    """`rooms` of `members` each; in each the first `talkers` talk (0: all).

    `windows` are how many messages each talker has under way in the closed loop. Every server is driven with
    each of them and the best counts: what suits a server that syncs its disk makes another one stumble.

    `idle` more are logged in, in rooms of ten where nobody speaks. Where `stuck_load` is not 0, it is how
    many deliveries per second there are, and the last member of the first room stops reading in between.
    """

    letter: str
    title: str
    rooms: int
    members: int
    windows: tuple[int, ...]
    talkers: int = 0
    idle: int = 0
    stuck_load: int = 0

    @property
    def clients(self) -> int:
        """How many connections there are."""
        return self.rooms * self.members + self.idle

    def sizes(self) -> list[int]:
        """Return how many members each room has, in the order in which the clients are numbered."""
        return [self.members] * self.rooms + [10] * (self.idle // 10)

    def options(self) -> list[str]:
        """Return the load generator's options."""
        options = [f"--rooms={self.rooms}", f"--members={self.members}", f"--talkers={self.talkers}"]
        return [*options, f"--idle={self.idle}", *(["--stuck"] if self.stuck_load else [])]


SCENES = {
    scene.letter: scene
    for scene in (
        Scene("a", "10 in one room, all talk", 1, 10, (64,)),
        Scene("b", "100 in one room, all talk", 1, 100, (4, 16)),
        Scene("c", "1000 in one room, 5 talk", 1, 1000, (8, 64), talkers=5),
        Scene("d", "1000 in 100 rooms of 10, all talk", 100, 10, (32,)),
        Scene("e", "10,000 idle, and 10 in one room that talk", 1, 10, (64,), idle=10_000),
        Scene("f", "100 in one room, one never reads", 1, 100, (), stuck_load=495_000),
        Scene("g", "1000 in 500 rooms of 2, all talk", 500, 2, (32,)),
    )
}

GROWTH = tuple(
    Scene("growth", f"{members} in one room, 5 talk", 1, members, (64,), talkers=5)
    for members in (10, 30, 100, 300, 1000)
)
"""The same but for the size of the room."""
