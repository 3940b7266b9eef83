"""Each module exports what `__all__` lists, and public names have docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

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


def used_names(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for each name of this package that `module` takes from another module."""
    tree = ast.parse(inspect.getsource(module))
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clave_crypto"):
            for alias in node.names:
                if f"{node.module}.{alias.name}" in MODULES:
                    modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                else:
                    yield str(node.module), alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield modules[node.value.id], node.attr


@pytest.mark.parametrize("name", MODULES)
def test_modules_take_from_each_other_what_is_offered(name: str) -> None:
    for module, used in used_names(importlib.import_module(name)):
        assert used in importlib.import_module(module).__all__, f"{module}.{used}"


def test_mls_offers_what_an_application_needs() -> None:
    needed = {
        *("Group", "KeyPackageBundle", "KeyPackage", "VerifiedKeyPackage", "PendingCommit", "GroupState"),
        *("Add", "Update", "Remove", "GroupContextExtensions", "PreSharedKey", "Proposal", "Extension"),
        *("Application", "ProposalReceived", "Committed", "Received", "Member", "Policy", "LeafNode"),
        *("MLSError", "LocalError", "PeerError", "PolicyRejected", "ValidationError", "OwnMessageError"),
        *("decode_key_package", "encode_message", "peek", "find_suite", "SUITES", "RandomBytes"),
        *("ExternalInit", "GroupInfo", "KeyPackageSource", "Secret", "certificate_chain", "check_chain"),
        *("CommitPreview", "CommitFate", "authenticated_data"),
    }
    assert needed <= set(mls.__all__)
