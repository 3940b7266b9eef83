"""The link by which somebody joins a room. Knows no relay and no group; its text is in `secret_link`."""

from __future__ import annotations

from functools import cached_property

from clave_client.formats.link_secret import LinkSecret
from clave_client.net.secret_link import LinkUse, SecretLink

__all__ = ["JoinLink"]


class JoinLink(SecretLink):
    """A link to join a room by."""

    USE = LinkUse.ROOM

    @cached_property
    def secret(self) -> LinkSecret:
        """The link's key pairs."""
        return LinkSecret(self.seed)
