"""Which libraries the members of a group run on: the parameters of the tests. Runs nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pytest
from _pytest.mark import ParameterSet

from interop.clave import Clave
from interop.core_crypto import CoreCrypto
from interop.mls_rs import MlsRs
from interop.peer import Library, Operation, Peer, new_identity

__all__ = ["CORE_CRYPTO", "LIBRARIES", "PAIRS", "SMALL", "SOME", "Mix", "mixes"]

CLAVE = Clave()

CORE_CRYPTO = CoreCrypto()

LIBRARIES: tuple[Library, ...] = (MlsRs(), CORE_CRYPTO)
"""Those that are tried with this one."""

PAIRS = ("ct", "tc")
"""The creator's library first: `c` for this one, clave; `t` for the other, theirs."""

TRIPLES = ("cct", "ctc", "ctt", "tcc", "tct", "ttc")

SMALL = (*PAIRS, *TRIPLES)
"""Every mix of two and three members."""

SOME = (*PAIRS, "ctc", "tct")
"""A mix of three members for each creator, beside the pairs."""


@dataclass(frozen=True)
class Mix:
    """Members on this library and on another; `pattern` is as in `PAIRS`."""

    theirs: Library
    suite: int
    pattern: str

    def __str__(self) -> str:
        size = len(self.pattern)
        members = self.pattern if size <= 3 else f"{self.pattern[:2]}-{size}"
        return f"{self.theirs.name}-suite{self.suite}-{members}"

    @property
    def creator(self) -> Library:
        """The library of the group's creator."""
        return self.library(self.pattern[0])

    def library(self, letter: str) -> Library:
        """Return the library that stands for a letter of the pattern."""
        return {"c": CLAVE, "t": self.theirs}[letter]

    def clients(self) -> list[Peer]:
        """Make the clients, who are in no group."""
        return [self.client(letter) for letter in self.pattern]

    def client(self, letter: str) -> Peer:
        """Make another client."""
        public = self.theirs.public_handshake
        return self.library(letter).client(new_identity(), self.suite, public_handshake=public)


def mixes(
    first: Sequence[str],
    others: Sequence[str],
    *,
    libraries: Sequence[Library] = LIBRARIES,
    needs: Collection[Operation] = (),
) -> list[ParameterSet]:
    """Return parameters of a test: mixes with each of `libraries` that can do what the test `needs`.

    `first` are the patterns tried with a library's first suite, `others` those with its other suites, which
    differ only in their primitives.
    """
    return [
        pytest.param(mix, id=str(mix), marks=pytest.mark.skipif(reason is not None, reason=reason or ""))
        for library in libraries
        if library.operations.issuperset(needs)
        for reason in [library.missing()]
        for suite in library.suites
        for pattern in (first if suite == library.suites[0] else others)
        for mix in [Mix(library, suite, pattern)]
    ]
