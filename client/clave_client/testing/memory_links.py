"""The links of a room at the relay in memory, and the offers by which their holders join it.

Knows no connections and no log.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from clave_client.testing.refusals import Refusal
from clave_wire.links import PROOF_BYTES
from clave_wire.messages import Code, Kind, Offer, OfferedLink, Submit

__all__ = ["FoundOffer", "MemoryLinks", "is_join"]

_MAX_LINKS = 64
_MAX_OFFERS = 8


@dataclass(frozen=True)
class _Link:
    not_after: int
    uses: int
    is_revoked: bool = False


class _Offer(NamedTuple):
    """An account's last offer; they are served in descending order."""

    settled: bool
    seq: int
    account: str
    keys: dict[bytes, bytes]
    group_info: bytes


class FoundOffer(NamedTuple):
    """One of a number of `offers` with a link, and the key of its group info that is sealed to the link."""

    offers: int
    sealed: bytes
    group_info: bytes


class MemoryLinks:
    """Which links of a room are live, and its offers."""

    def __init__(self) -> None:
        self._links: dict[bytes, _Link] = {}
        self._offers: dict[str, _Offer] = {}

    def __contains__(self, link: bytes) -> bool:
        return link in self._links

    def keep(self, offer: Offer, account: str, seq: int, accounts: Collection[str], *, settled: bool) -> None:
        """Keep an offer of a member, and take over its links: all that are live if it is `settled`.

        Then offers of others than `accounts`, to which the room is routed, are dropped.
        """
        if settled:
            self._offers = {name: each for name, each in self._offers.items() if name in accounts}
            for key, link in self._links.items():
                self._links[key] = replace(link, is_revoked=True)
            self._links.update(_of(offer.links))
        else:
            live = sum(not link.is_revoked for link in self._links.values())
            new = [each for each in offer.links if each.key not in self._links]
            self._links.update(_of(new[: _MAX_LINKS - live]))
        revoked = [key for key, link in self._links.items() if link.is_revoked]
        for key in revoked[: max(0, len(self._links) - _MAX_LINKS)]:
            del self._links[key]
        keys = {each.key: each.sealed for each in offer.links if each.sealed}
        self._offers[account] = _Offer(settled, seq, account, keys, offer.group_info)
        if len(self._offers) > _MAX_OFFERS:
            del self._offers[min(self._offers.values(), key=_rank).account]

    def check(self, link: bytes, now: float, *, is_member: bool) -> None:
        """Raise `Refusal` unless a link lets a device in at `now` (seconds since 1970)."""
        known = self._links.get(link)
        if known is None:
            raise Refusal(Code.NO_SUCH_LINK, "there is no such link")
        if known.is_revoked:
            raise Refusal(Code.LINK_REVOKED, "this link was revoked")
        if 0 < known.not_after <= now:
            raise Refusal(Code.LINK_EXPIRED, "this link has expired")
        if known.uses <= 0 and not is_member:
            raise Refusal(Code.LINK_USED_UP, "this link has let in as many devices as it may")

    def use(self, link: bytes) -> None:
        """Count a device that a link let in."""
        self._links[link] = replace(self._links[link], uses=self._links[link].uses - 1)

    def find(self, link: bytes, place: int) -> FoundOffer:
        """Return the offer at `place`, from 0, of those with a link. Raises `Refusal`."""
        offers = sorted(self._offers.values(), key=_rank, reverse=True)
        served = [offer for offer in offers if link in offer.keys]
        if place >= len(served):
            text = f"there are no more than {len(served)} offers of this link's room"
            raise Refusal(Code.NO_SUCH_LINK, text)
        return FoundOffer(len(served), served[place].keys[link], served[place].group_info)


def is_join(submit: Submit) -> bool:
    """Return whether a submission asks to join by a link."""
    return submit.kind is Kind.REKEY and len(submit.welcome) == PROOF_BYTES


def _of(offered: Sequence[OfferedLink]) -> dict[bytes, _Link]:
    return {each.key: _Link(each.not_after, each.uses) for each in offered}


def _rank(offer: _Offer) -> tuple[bool, int]:
    return offer.settled, offer.seq
