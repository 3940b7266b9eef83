"""The code by which a new device finds the one that pairs it. Its text is in `secret_link`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from clave_client.formats.pairing import PairingSecret
from clave_client.net.address import RelayAddress
from clave_client.net.secret_link import LinkUse, SecretLink, account_digest

__all__ = ["PairingCode"]


@dataclass(frozen=True, repr=False)
class PairingCode:
    """A code: the relay, its certificate, and whose devices they are, as in a link; and a secret."""

    address: RelayAddress
    pin: bytes
    account: bytes
    secret: PairingSecret

    def __repr__(self) -> str:
        return f"<PairingCode {self.address}>"

    @classmethod
    def make(cls, address: RelayAddress, pin: bytes, account: bytes) -> Self:
        """Return a new code of an account at a relay."""
        return cls(address, pin, account_digest(account), PairingSecret.generate())

    def is_of(self, account: bytes) -> bool:
        """Return whether a device of this account made the code."""
        return account_digest(account) == self.account

    @property
    def text(self) -> str:
        """The code as it is shown."""
        return SecretLink(LinkUse.DEVICE, self.address, self.pin, self.account, self.secret.seed).text

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a code; spaces and line breaks in it do not matter. Raises `LinkUnusable`."""
        link = SecretLink.parse(text, LinkUse.DEVICE)
        return cls(link.address, link.pin, link.account, PairingSecret(link.seed))
