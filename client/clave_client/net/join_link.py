"""The link by which somebody joins a room. Knows no relay and no group; its text is in `secret_link`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from clave_client.formats.link_secret import LinkSecret
from clave_client.net.address import RelayAddress
from clave_client.net.secret_link import LinkUse, SecretLink, account_digest
from clave_crypto.keys import Secret

__all__ = ["JoinLink"]


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
        return cls(address, pin, account_digest(account), secret)

    def is_of(self, account: bytes) -> bool:
        """Return whether an account made the link."""
        return account_digest(account) == self.inviter

    @property
    def text(self) -> str:
        """The link as it is sent to somebody; whoever has it can join."""
        return SecretLink(LinkUse.ROOM, self.address, self.pin, self.inviter, self.secret.seed).text

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a link; spaces and line breaks in it do not matter. Raises `LinkUnusable`."""
        link = SecretLink.parse(text, LinkUse.ROOM)
        return cls(link.address, link.pin, link.account, LinkSecret(link.seed))
