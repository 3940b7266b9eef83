"""Extensions, and those that RFC 9420 defines for groups (sections 11.1 and 13). Checks none of them."""

from __future__ import annotations

from collections.abc import Iterable

from clave_crypto.codec import Enum16, Struct, struct, u16
from clave_crypto.mls.credentials import BasicCredential, X509Credential

__all__ = [
    "DEFAULT_EXTENSION_TYPES",
    "ApplicationId",
    "Extension",
    "ExtensionType",
    "ExternalPub",
    "ExternalSender",
    "ExternalSenders",
    "RequiredCapabilities",
    "find_extension",
]


class ExtensionType(Enum16):
    """MLS Extension Types this library handles (section 17.3); others are carried as numbers."""

    APPLICATION_ID = 1
    RATCHET_TREE = 2
    REQUIRED_CAPABILITIES = 3
    EXTERNAL_PUB = 4
    EXTERNAL_SENDERS = 5
    LAST_RESORT = 0x000A


DEFAULT_EXTENSION_TYPES = frozenset(range(ExtensionType.APPLICATION_ID, ExtensionType.EXTERNAL_SENDERS + 1))
"""Types that every client supports and none lists in its capabilities (section 7.2)."""


@struct()
class Extension(Struct):
    """An extension: a type and its data, which are opaque where the type is not known."""

    extension_type: u16
    extension_data: bytes


@struct()
class ApplicationId(Struct):
    """An identifier of a client whose form the application defines (section 5.3.3)."""

    application_id: bytes


@struct()
class ExternalPub(Struct):
    """The public key for external commits (section 12.4.3.2)."""

    external_pub: bytes


@struct()
class ExternalSender(Struct):
    """A sender outside the group whose proposals the group accepts (section 12.1.8.1)."""

    signature_key: bytes
    credential: BasicCredential | X509Credential


@struct()
class ExternalSenders(Struct):
    """The content of the external_senders extension."""

    senders: tuple[ExternalSender, ...]


@struct()
class RequiredCapabilities(Struct):
    """What every member must support (section 11.1)."""

    extension_types: tuple[u16, ...]
    proposal_types: tuple[u16, ...]
    credential_types: tuple[u16, ...]


def find_extension(extensions: Iterable[Extension], extension_type: int) -> bytes | None:
    """Return the data of the extension of that type, or None."""
    for extension in extensions:
        if extension.extension_type == extension_type:
            return extension.extension_data
    return None
