"""The text of a link by which somebody joins a room: `clave://HOST:PORT/#...`. Knows no relay and no group.

What follows the `#` is base64url of a version (1 byte), the first 16 bytes of the digest of the relay's
certificate and of the fingerprint of the account that made the link, a secret seed (16 bytes), and the first
4 bytes of a SHA-256 over the address and all of that. It is short enough to fit beside an onion address.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

from clave_client.errors import LinkUnusable, UsageError
from clave_client.formats.link_secret import SEED_BYTES, LinkSecret
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import LINK_PIN_BYTES
from clave_crypto.identity import fingerprint_digest
from clave_crypto.keys import Secret

__all__ = ["JoinLink"]

_VERSION: Final = 1
_CHECKSUM_BYTES: Final = 4
_BYTES: Final = 1 + 2 * LINK_PIN_BYTES + SEED_BYTES + _CHECKSUM_BYTES
_SCHEME: Final = "clave://"
_CHECKSUM_LABEL: Final = b"clave 1 join link\0"
_NEW: Final = "ask whoever sent it for the whole line"


@dataclass(frozen=True, repr=False)
class JoinLink:
    """A link: where its room is, which certificate that relay has, who made it, and its secret.

    `pin` are the first 16 bytes of the digest of the relay's certificate, or zeros for one that a certificate
    authority has to have signed; `inviter` are those of the fingerprint of an account.
    """

    address: RelayAddress
    pin: bytes
    inviter: bytes
    secret: LinkSecret

    def __repr__(self) -> str:
        return f"<JoinLink {self.address}>"

    @classmethod
    def make(cls, address: RelayAddress, pin: bytes, account: bytes, seed: Secret | None = None) -> Self:
        """Return a link of an account at a relay: a new one, unless its seed (16 bytes) is given."""
        secret = LinkSecret.generate() if seed is None else LinkSecret(seed)
        return cls(address, pin, fingerprint_digest(account)[:LINK_PIN_BYTES], secret)

    def is_of(self, account: bytes) -> bool:
        """Return whether an account made the link."""
        return fingerprint_digest(account)[:LINK_PIN_BYTES] == self.inviter

    @property
    def text(self) -> str:
        """The link as it is sent to somebody; whoever has it can join."""
        body = bytes((_VERSION,)) + self.pin + self.inviter + self.secret.seed
        whole = body + _checksum(str(self.address), body)
        return f"{_SCHEME}{self.address}/#{base64.urlsafe_b64encode(whole).rstrip(b'=').decode()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a link; spaces and line breaks in it do not matter. Raises `LinkUnusable`."""
        found = re.fullmatch(r"(?:clavejoin)?clave://([^/#]+)/?#(.*)", re.sub(r"[\s'\"<>]", "", text))
        if found is None:
            raise LinkUnusable(f"this is no link to join by; one begins with {_SCHEME} and has a #; {_NEW}")
        host, encoded = found[1], found[2].rstrip(".,;")
        try:
            address = RelayAddress.parse(host)
            whole = base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True)
        except UsageError:
            raise LinkUnusable(f"this link is mistyped: {host!r} is no address; {_NEW}") from None
        except (binascii.Error, ValueError):
            whole = b""
        body, checksum = whole[:-_CHECKSUM_BYTES], whole[-_CHECKSUM_BYTES:]
        if not body or checksum != _checksum(str(address), body):
            characters = len(encoded)
            if characters < _characters(_BYTES):
                whole_length = _characters(_BYTES)
                text = f"this link is cut off: {characters} of {whole_length} characters after the #; {_NEW}"
                raise LinkUnusable(text)
            raise LinkUnusable(f"this link is mistyped: its checksum does not fit; {_NEW}")
        if body[0] != _VERSION or len(whole) != _BYTES:
            raise LinkUnusable("this link is of a newer version of clave; update clave, then try it again")
        pin, inviter, seed = body[1:17], body[17:33], body[33:]
        return cls(address, pin, inviter, LinkSecret(Secret(seed)))


def _characters(size: int) -> int:
    """Return how many characters `size` bytes have in base64 without padding."""
    return -(-size * 8 // 6)


def _checksum(address: str, body: bytes) -> bytes:
    return hashlib.sha256(_CHECKSUM_LABEL + address.encode() + b"\0" + body).digest()[:_CHECKSUM_BYTES]
