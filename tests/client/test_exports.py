"""What each of the client's modules offers is what `__all__` says."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil

import pytest

import clave_client
from clave_client import errors, events

MODULES = [
    module.name.removeprefix("clave_client.")
    for module in pkgutil.walk_packages(clave_client.__path__, "clave_client.")
    if not module.ispkg and module.name != "clave_client.__main__"
]


@pytest.mark.parametrize("name", MODULES)
def test_all_names_exist_are_documented_and_nothing_public_is_left_out(name: str) -> None:
    module = importlib.import_module(f"clave_client.{name}")
    assert (module.__doc__ or "").strip()
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, public
    defined_here = {
        key
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not key.startswith("_")
    }
    type_variables = {"E", "E_co", "P", "R", "T"}
    assert defined_here <= set(module.__all__) | type_variables


def test_the_package_exports_every_event_and_error_and_what_a_bot_needs() -> None:
    needed = {"Client", "Room", "Profile", "default_home", "profile_names", "EventStream", "Fingerprint"}
    needed |= {"RoomInfo", "MemberInfo", "RelayInfo", "HistoryLine", "SeenKey"}
    exported = set(clave_client.__all__)
    assert needed | set(events.__all__) | set(errors.__all__) <= exported
    for module, base in ((events, events.Event), (errors, errors.ClientError)):
        defined = {
            name for name, value in vars(module).items() if inspect.isclass(value) and issubclass(value, base)
        }
        assert defined <= exported, module.__name__


def test_exported_names_are_found_listed_and_equal_to_those_of_their_modules() -> None:
    assert sorted(clave_client.__all__) == list(clave_client.__all__)
    assert set(clave_client.__all__) <= set(dir(clave_client))
    for name in clave_client.__all__:
        value = getattr(clave_client, name)
        assert getattr(importlib.import_module(value.__module__), name) is value
    with pytest.raises(AttributeError, match="has no attribute 'Clint'"):
        _ = clave_client.Clint


@pytest.mark.parametrize("name", MODULES)
def test_imported_names_are_public_in_their_module(name: str) -> None:
    source = inspect.getsource(importlib.import_module(f"clave_client.{name}"))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("clave_client."):
            module = importlib.import_module(node.module)
            if not hasattr(module, "__path__"):
                assert {alias.name for alias in node.names} <= set(module.__all__), node.module
