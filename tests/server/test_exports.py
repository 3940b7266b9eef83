"""`__all__` of each of the relay's modules lists exactly its public names."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import clave_server

MODULES = [
    module.name.removeprefix("clave_server.")
    for module in pkgutil.walk_packages(clave_server.__path__, "clave_server.")
    if not module.ispkg and not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_all_lists_exactly_the_public_names(name: str) -> None:
    module = importlib.import_module(f"clave_server.{name}")
    for public in module.__all__:
        assert hasattr(module, public)
    defined_here = {
        key
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not key.startswith("_")
    }
    assert defined_here <= set(module.__all__)
