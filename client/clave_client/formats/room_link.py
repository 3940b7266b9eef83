"""A link as the members of its room know it, and as the leaf of who joined by it names it. Knows no group.

Members know a link's public keys only, so none of them can join others by it.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from clave_client.errors import PeerError
from clave_client.formats.former_state import AccountKey
from clave_crypto.mls import Extension, LeafNode, find_extension
from clave_wire.errors import RemoteError
from clave_wire.limits import MAX_LINKS
from clave_wire.links import LinkProof

__all__ = ["LINK_EXTENSION", "MOST_LINKS", "MOST_USES", "RoomLink", "link_extension", "link_proof"]

LINK_EXTENSION: Final = 0xF0C3
"""The type of the extension in which a leaf names its link, and a group with links has its agreed state."""

MOST_LINKS: Final = MAX_LINKS
MOST_USES: Final = 500
"""Most devices that join by one link."""

_MAX_KEM_KEY_BYTES: Final = 2048
_MAX_TIME: Final = 2**40


class RoomLink(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A link: its Ed25519 key, a KEM key of the group's suite, the account that made it.

    Nobody joins by it from `not_after` on, in seconds since 1970, nor once `uses` leaves name it.
    """

    key: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    kem_key: Annotated[bytes, msgspec.Meta(min_length=32, max_length=_MAX_KEM_KEY_BYTES)]
    by: AccountKey
    not_after: Annotated[int, msgspec.Meta(ge=1, le=_MAX_TIME)]
    uses: Annotated[int, msgspec.Meta(ge=1, le=MOST_USES)]

    @property
    def id(self) -> str:
        """How people name the link: the start of its key, in hex."""
        return self.key.hex()[:8]


def link_extension(proof: LinkProof) -> Extension:
    """Return the leaf extension of a device that joins by a link."""
    return Extension(LINK_EXTENSION, proof.encode())


def link_proof(leaf: LeafNode) -> LinkProof | None:
    """Return by which link a leaf joined, None if by none. Raises `PeerError` if that cannot be read."""
    data = find_extension(leaf.extensions, LINK_EXTENSION)
    try:
        return None if data is None else LinkProof.decode(data)
    except RemoteError as error:
        raise PeerError(str(error)) from None
