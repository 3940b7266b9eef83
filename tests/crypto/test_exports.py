"""What each module offers is what `__all__` says, and public things are documented."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import clave_crypto
from clave_crypto import mls

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(clave_crypto.__path__, "clave_crypto.")
    if name not in {"clave_crypto.mls.rules"}
]


@pytest.mark.parametrize("name", MODULES)
def test_all_names_exist_and_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip()
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, public


def test_mls_offers_what_an_application_needs() -> None:
    needed = {
        *("Group", "KeyPackageBundle", "KeyPackage", "VerifiedKeyPackage", "PendingCommit", "GroupState"),
        *("Add", "Update", "Remove", "GroupContextExtensions", "PreSharedKey", "Proposal", "Extension"),
        *("Application", "ProposalReceived", "Committed", "Received", "Member", "Policy", "LeafNode"),
        *("MLSError", "LocalError", "PeerError", "PolicyRejected", "ValidationError", "OwnMessageError"),
        *("decode_key_package", "encode_message", "peek", "find_suite", "SUITES", "RandomBytes"),
    }
    assert needed <= set(mls.__all__)
