"""Rules for a list of extensions, wherever it is (RFC 9420, sections 13 and 13.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from clave_crypto.codec import Struct
from clave_crypto.errors import DecodeError
from clave_crypto.mls.extensions import (
    ApplicationId,
    Extension,
    ExtensionType,
    ExternalPub,
    ExternalSenders,
    RequiredCapabilities,
)
from clave_crypto.mls.ratchet_tree import TreeNodes
from clave_crypto.mls.rules.registry import BrokenRuleError, rule

__all__ = ["check_extensions", "check_extensions_unique"]

_CONTENTS: Final[Mapping[int, type[Struct]]] = {
    ExtensionType.APPLICATION_ID: ApplicationId,
    ExtensionType.RATCHET_TREE: TreeNodes,
    ExtensionType.REQUIRED_CAPABILITIES: RequiredCapabilities,
    ExtensionType.EXTERNAL_PUB: ExternalPub,
    ExtensionType.EXTERNAL_SENDERS: ExternalSenders,
}


def check_extensions(extensions: Sequence[Extension]) -> None:
    """Check the extensions of a leaf, a key package or a group context."""
    check_extensions_unique(extensions)
    for extension in extensions:
        check_content(extension)


@rule("extensions-unique", "13.4")
def check_extensions_unique(extensions: Sequence[Extension]) -> None:
    """A list of extensions has no type twice."""
    if len({extension.extension_type for extension in extensions}) != len(extensions):
        raise BrokenRuleError("an extension type appears twice")


@rule("extension-content", "13")
def check_content(extension: Extension) -> None:
    """An extension of a type that RFC 9420 defines is well formed, also where nobody reads it."""
    content = _CONTENTS.get(extension.extension_type)
    if content is None:
        return
    try:
        content.decode(extension.extension_data)
    except DecodeError as error:
        raise BrokenRuleError(f"an extension of type {extension.extension_type}: {error}") from error
