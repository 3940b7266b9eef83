"""Judges the lifetimes of key packages, and says whose clock is off. Asks nobody."""

from __future__ import annotations

from typing import NamedTuple

from clave_client.formats.durations import duration_words
from clave_client.sync.clock_check import CLOCK_TOLERANCE, difference_words
from clave_crypto.mls import KeyPackage, KeyPackageSource

__all__ = ["Clocks", "LifetimeFault", "is_over", "is_valid", "lifetime_fault"]


class Clocks(NamedTuple):
    """This machine's clock, in seconds since 1970, and how far it is ahead of the relay's (None: unknown)."""

    own: float
    ahead: float | None

    @property
    def relays(self) -> float:
        """The relay's clock; this machine's if that is not known."""
        return self.own - (self.ahead or 0.0)

    @property
    def own_is_off(self) -> bool:
        """Whether the relay's clock shows another time, as far as is known."""
        return self.ahead is not None and abs(self.ahead) > CLOCK_TOLERANCE


class LifetimeFault(NamedTuple):
    """Why a key package is not valid now, for the user; `is_own` says that it is this machine's fault."""

    text: str
    is_own: bool


def is_valid(package: KeyPackage, now: float) -> bool:
    """Return whether a key package can be used at `now`, in seconds since 1970."""
    begins, ends = _lifetime(package)
    return begins <= now <= ends


def is_over(package: KeyPackage, now: float) -> bool:
    """Return whether a key package has expired by `now`."""
    return now > _lifetime(package)[1]


def lifetime_fault(package: KeyPackage, clocks: Clocks) -> LifetimeFault:
    """Return why a key package cannot be used now: whose clock is off and by how much, and what to do."""
    if clocks.ahead is not None and clocks.own_is_off and is_valid(package, clocks.relays):
        text = f"this machine's clock is {difference_words(clocks.ahead)}; set it first"
        return LifetimeFault(text, is_own=True)
    begins, ends = _lifetime(package)
    now = clocks.relays if clocks.own_is_off else clocks.own
    doubt = "" if clocks.ahead is not None else ", unless this machine's clock is off"
    if now < begins:
        text = (
            f"the clock of their machine is at least {duration_words(begins - now)} ahead{doubt};"
            " ask them to set it and to start clave again"
        )
    else:
        text = (
            f"their key packages expired {duration_words(now - ends)} ago{doubt};"
            " ask them to set their clock if it is behind, and to start clave, which makes new ones"
        )
    return LifetimeFault(text, is_own=False)


def _lifetime(package: KeyPackage) -> tuple[int, int]:
    """Return not_before and not_after, in seconds since 1970; without limits if the leaf has none."""
    source = package.leaf_node.source
    if isinstance(source, KeyPackageSource):
        return source.not_before, source.not_after
    return 0, 1 << 64  # the group refuses it for that
