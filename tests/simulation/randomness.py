"""Puts one seed in the place of every source of randomness of client, relay and MLS. Knows no story.

What is replaced: `os.urandom` (also where it is a parameter's default), the `random` module of clave's
modules, and the generation of identity keys. Only the ephemeral keys of P-256, P-384, P-521, X448 and ML-KEM
are drawn by `cryptography` itself.
"""

from __future__ import annotations

import inspect
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest import mock

from clave_crypto.identity import AccountKey, DeviceKey
from clave_crypto.keys import Secret
from clave_crypto.mls.suites import CipherSuite

__all__ = ["clave_modules", "dice", "seeded"]

_urandom = os.urandom


def dice(seed: int | str, purpose: str) -> random.Random:
    """Return a source of chance of its own for one purpose, so that one does not disturb another."""
    return random.Random(f"{seed}/{purpose}")  # noqa: S311  (a simulation is to be repeatable)


def clave_modules() -> list[Any]:
    """Return every module of the project that is loaded."""
    return [module for name, module in sorted(sys.modules.items()) if name.startswith("clave_")]


def _functions() -> Iterator[Any]:
    """Yield the functions and methods of the project."""
    for module in clave_modules():
        for owner in (module, *(each for each in vars(module).values() if inspect.isclass(each))):
            for each in list(vars(owner).values()):
                plain = each.__func__ if isinstance(each, classmethod | staticmethod) else each
                if inspect.isfunction(plain):
                    yield inspect.unwrap(plain)


@cache
def _drawing(_modules: int) -> list[Any]:
    """Return the functions that have `os.urandom` as a parameter's default."""
    return [
        function
        for function in dict.fromkeys(_functions())
        if _urandom in (function.__kwdefaults__ or {}).values() or _urandom in (function.__defaults__ or ())
    ]


@contextmanager
def _defaults_replaced(replacement: Callable[[int], bytes]) -> Iterator[None]:
    """Put `replacement` where `os.urandom` is the default of a parameter."""
    changed = []
    for function in _drawing(len(clave_modules())):
        keywords, positional = function.__kwdefaults__, function.__defaults__
        changed.append((function, keywords, positional))
        function.__kwdefaults__ = {
            k: replacement if v is _urandom else v for k, v in (keywords or {}).items()
        }
        function.__defaults__ = tuple(replacement if v is _urandom else v for v in positional or ()) or None
    try:
        yield
    finally:
        for function, keywords, positional in changed:
            function.__kwdefaults__, function.__defaults__ = keywords, positional


@contextmanager
def seeded(seed: int | str, *suites: CipherSuite) -> Iterator[None]:
    """Have everything drawn inside depend on `seed` only; `suites` are those that are used."""
    draw = dice(seed, "urandom").randbytes
    with ExitStack() as stack:

        def patch(owner: Any, name: str, value: Any) -> None:
            stack.enter_context(mock.patch.object(owner, name, value))

        patch(os, "urandom", draw)
        stack.enter_context(_defaults_replaced(draw))
        for key in (AccountKey, DeviceKey):
            patch(key, "generate", classmethod(lambda cls: cls(Secret(draw(32)))))
        shared = dice(seed, "random module")
        for module in clave_modules():
            if getattr(module, "random", None) is random:
                patch(module, "random", shared)
        yield
