"""Links of one room, by which strangers join: which are live, whom they let in. Knows no disk or clock.

Functions return a new mapping and do not change their arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from clave_crypto.errors import CryptoError
from clave_crypto.identity import verify_signature
from clave_server.errors import Refusal
from clave_wire.header import Header
from clave_wire.links import PROOF_BYTES, LinkProof, join_transcript
from clave_wire.messages import Code, Kind, OfferedLink, Submit

__all__ = [
    "MAX_KNOWN_LINKS",
    "Link",
    "Links",
    "add_links",
    "check_link",
    "check_proof",
    "is_join",
    "replace_links",
    "use_link",
]

MAX_KNOWN_LINKS: Final = 64
"""Links remembered of one room, revoked ones included; above that the oldest revoked one is dropped."""


class Link(NamedTuple):
    """A link that lets `uses` more devices in until `not_after`, in seconds since 1970 (0: no end)."""

    not_after: int
    uses: int
    revoked: bool = False


Links = Mapping[bytes, Link]
"""By Ed25519 public key, the oldest first."""


def replace_links(links: Links, offered: Sequence[OfferedLink]) -> Links:
    """Return `links` with exactly those that are offered live; the others are revoked."""
    revoked = {key: link._replace(revoked=True) for key, link in links.items()}
    live = {each.key: Link(each.not_after, each.uses) for each in offered}
    return _drop_oldest({**revoked, **live})


def add_links(links: Links, offered: Sequence[OfferedLink]) -> Links:
    """Return `links` and those offered that were unknown, as long as no live one has to be dropped for them.

    Returns `links` itself if that adds nothing.
    """
    live = sum(not link.revoked for link in links.values())
    new = {each.key: Link(each.not_after, each.uses) for each in offered if each.key not in links}
    new = dict(list(new.items())[: MAX_KNOWN_LINKS - live])
    return _drop_oldest({**links, **new}) if new else links


def _drop_oldest(links: dict[bytes, Link]) -> Links:
    excess = max(0, len(links) - MAX_KNOWN_LINKS)
    for key in [key for key, link in links.items() if link.revoked][:excess]:
        del links[key]
    return links


def use_link(links: Links, key: bytes) -> Links:
    """Return `links` with one use less left of the link `key`, which has one."""
    link = links[key]
    return {**links, key: link._replace(uses=link.uses - 1)}


def check_link(link: Link | None, now: int, *, is_member: bool) -> None:
    """Raise `Refusal` unless a link lets a device in at `now` (seconds since 1970).

    A link that is used up still lets in a device that is a member already.
    """
    if link is None:
        raise Refusal(Code.NO_SUCH_LINK, "there is no such link")
    if link.revoked:
        raise Refusal(Code.LINK_REVOKED, "this link was revoked")
    if 0 < link.not_after <= now:
        raise Refusal(Code.LINK_EXPIRED, "this link has expired")
    if link.uses <= 0 and not is_member:
        raise Refusal(Code.LINK_USED_UP, "this link has let in as many devices as it may")


def is_join(submit: Submit) -> bool:
    """Return whether a submission asks to join by a link."""
    return submit.kind is Kind.REKEY and len(submit.welcome) == PROOF_BYTES


def check_proof(proof: LinkProof, room: bytes, device: bytes, name: str, header: Header) -> None:
    """Raise `Refusal` unless a link's key signed that `device` of the account `name` may join.

    The entry's `header` may add and remove nobody.
    """
    try:
        verify_signature(proof.link, join_transcript(room, header.head, device, name), proof.signature)
    except CryptoError:
        text = "this device is not a member of the room, and its link does not let it in"
        raise Refusal(Code.NOT_MEMBER, text) from None
    if header.add or header.remove:
        raise Refusal(Code.BAD_REQUEST, "who joins by a link adds and removes nobody")
