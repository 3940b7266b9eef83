"""The code by which a new device finds the one that pairs it. Its text is in `secret_link`."""

from __future__ import annotations

from functools import cached_property

from clave_client.formats.pairing import PairingSecret
from clave_client.net.secret_link import LinkUse, SecretLink

__all__ = ["PairingCode"]


class PairingCode(SecretLink):
    """A code to add a device by."""

    USE = LinkUse.DEVICE

    @cached_property
    def secret(self) -> PairingSecret:
        """The keys of the channel that the code opens."""
        return PairingSecret(self.seed)
