"""The text of a link with a secret: `clave://HOST:PORT/#...`. Knows no relay, and not what the secret is for.

What follows the `#` is base64url of what the link is for (1 byte), the first 16 bytes of the digest of the
relay's certificate and of the fingerprint of the account that made the link, a secret seed (16 bytes), and
the first 4 bytes of a SHA-256 over the address and all of that. It is short enough to fit beside an onion
address.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import os
import re
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, Self

from clave_client.errors import LinkUnusable, UsageError
from clave_client.formats.link_secret import SEED_BYTES
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import LINK_PIN_BYTES
from clave_crypto.identity import fingerprint_digest
from clave_crypto.keys import Secret

__all__ = ["LinkUse", "SecretLink"]

_CHECKSUM_BYTES: Final = 4
_BYTES: Final = 1 + 2 * LINK_PIN_BYTES + SEED_BYTES + _CHECKSUM_BYTES
_SCHEME: Final = "clave://"
_CHECKSUM_LABEL: Final = b"clave 1 join link\0"


class LinkUse(enum.IntEnum):
    """What a link is for; the numbers stand in links."""

    ROOM = 1
    DEVICE = 2


class _Words(NamedTuple):
    """What a link is called in errors: itself, what it is for, how to get it whole, and how it is used."""

    noun: str
    purpose: str
    remedy: str
    command: str


_WORDS: Final = {
    LinkUse.ROOM: _Words("link", "to join by", "ask whoever sent it for the whole line", "clave join LINK"),
    LinkUse.DEVICE: _Words(
        "code",
        "to add a device by",
        "copy the whole line that the other device shows",
        "clave device join CODE, on the new device",
    ),
}


@dataclass(frozen=True, repr=False)
class SecretLink:
    """A link: its relay's address and certificate, who made it, and its secret; the base of one for each use.

    `pin` are the first 16 bytes of the digest of the relay's certificate, or zeros for one that a certificate
    authority has to have signed; `account` are those of the fingerprint of an account; `seed` has 16 bytes.
    """

    USE: ClassVar[LinkUse]

    address: RelayAddress
    pin: bytes
    account: bytes
    seed: Secret

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    @classmethod
    def make(cls, address: RelayAddress, pin: bytes, account: bytes, seed: Secret | None = None) -> Self:
        """Return a link of an account at a relay: a new one, unless its seed is given."""
        seed = Secret(os.urandom(SEED_BYTES)) if seed is None else seed
        return cls(address, pin, fingerprint_digest(account)[:LINK_PIN_BYTES], seed)

    def is_of(self, account: bytes) -> bool:
        """Return whether an account made the link."""
        return fingerprint_digest(account)[:LINK_PIN_BYTES] == self.account

    @property
    def text(self) -> str:
        """The link as it is shown; whoever has it can use it."""
        body = bytes((self.USE,)) + self.pin + self.account + self.seed
        whole = body + _checksum(str(self.address), body)
        return f"{_SCHEME}{self.address}/#{base64.urlsafe_b64encode(whole).rstrip(b'=').decode()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a link for this use; spaces, line breaks and the command before it do not matter.

        Raises `LinkUnusable`.
        """
        noun, purpose, remedy, _ = _WORDS[cls.USE]
        packed = re.sub(r"[\s'\"<>]", "", text)
        found = re.fullmatch(r"(?:clave(?:join|devicejoin))?clave://([^/#]+)/?#(.*)", packed)
        if found is None:
            raise LinkUnusable(
                f"this is no {noun} {purpose}; one begins with {_SCHEME} and has a #; {remedy}"
            )
        host, encoded = found[1], found[2].rstrip(".,;")
        try:
            address = RelayAddress.parse(host)
            whole = base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True)
        except UsageError:
            raise LinkUnusable(f"this {noun} is mistyped: {host!r} is no address; {remedy}") from None
        except (binascii.Error, ValueError):
            whole = b""
        body, checksum = whole[:-_CHECKSUM_BYTES], whole[-_CHECKSUM_BYTES:]
        if not body or checksum != _checksum(str(address), body):
            characters, all_of_it = len(encoded), _characters(_BYTES)
            if characters < all_of_it:
                cut = f"{characters} of {all_of_it} characters after the #"
                raise LinkUnusable(f"this {noun} is cut off: {cut}; {remedy}")
            raise LinkUnusable(f"this {noun} is mistyped: its checksum does not fit; {remedy}")
        if len(whole) != _BYTES or body[0] not in {*LinkUse}:
            raise LinkUnusable(f"this {noun} is of a newer version of clave; update clave, then try it again")
        if body[0] != cls.USE:
            other = _WORDS[LinkUse(body[0])]
            raise LinkUnusable(f"this is a {other.noun} {other.purpose}; run: {other.command}")
        return cls(address, body[1:17], body[17:33], Secret(body[33:]))


def _characters(size: int) -> int:
    """Return how many characters `size` bytes have in base64 without padding."""
    return -(-size * 8 // 6)


def _checksum(address: str, body: bytes) -> bytes:
    return hashlib.sha256(_CHECKSUM_LABEL + address.encode() + b"\0" + body).digest()[:_CHECKSUM_BYTES]
