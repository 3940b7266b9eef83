"""Each module exports what `__all__` lists."""

from __future__ import annotations

import importlib

import pytest

MODULES = ["connection", "device_messages", "errors", "framing", "joiners", "login", "text"]


@pytest.mark.parametrize("name", MODULES)
def test_all_names_exist_and_are_documented(name: str) -> None:
    module = importlib.import_module(f"clave_wire.{name}")
    for public in module.__all__:
        assert hasattr(module, public)
    defined_here = {
        key
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not key.startswith("_")
    }
    assert defined_here <= set(module.__all__)
