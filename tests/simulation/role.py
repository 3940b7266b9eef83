"""What an adversary of the simulation is. Knows none of them."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from simulation.world import World

__all__ = ["Role"]


class Role:
    """Somebody who does not keep to the rules; `who` plays the role, or suffers from it."""

    acts: ClassVar[tuple[str, ...]] = ()

    def __init__(self, world: World, who: str, number: int) -> None:
        self.world = world
        self.who = who
        self.number = number

    def begin(self) -> None:
        """Take position, before the story begins."""

    async def act(self, name: str, room: bytes, chance: Random) -> None:
        """Do one of `acts`."""

    def stop(self) -> None:
        """Do nothing any more."""

    def judge(self) -> None:
        """Look at what came of it, after everybody had time."""
