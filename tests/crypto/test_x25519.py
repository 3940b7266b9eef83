"""X25519 by each library: RFC 7748's vectors, Wycheproof's, and the same refusals."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from clave_crypto.errors import KeyRejected
from clave_crypto.keys import check_x25519_public
from clave_crypto.mls import x25519
from clave_crypto.mls.x25519 import BACKENDS, Backend

WYCHEPROOF = Path(__file__).parents[2].parent / "shared" / "wycheproof" / "x25519_test.json"
each_backend = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)


def test_pynacl_is_preferred_and_cryptography_serves_without_it() -> None:
    assert [backend.name for backend in BACKENDS] == ["PyNaCl", "cryptography"]
    assert x25519.BACKEND is BACKENDS[0]


@each_backend
def test_key_pairs_agree(backend: Backend) -> None:
    for _ in range(50):
        one, two = os.urandom(32), os.urandom(32)
        shared = backend.exchange(one, backend.public_key(two))
        assert shared == backend.exchange(two, backend.public_key(one))
        for other in BACKENDS:
            assert other.public_key(one) == backend.public_key(one)
            assert other.exchange(one, other.public_key(two)) == shared


@each_backend
@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_other_lengths_are_refused(backend: Backend, size: int) -> None:
    good, bad = os.urandom(32), os.urandom(size)
    for use in (backend.public_key, lambda private: backend.exchange(private, good)):
        with pytest.raises(ValueError, match="private key has 32 bytes"):
            use(bad)
    with pytest.raises(KeyRejected, match="public key has 32 bytes"):
        backend.exchange(good, bad)


@each_backend
def test_a_shared_secret_of_zeros_is_refused(backend: Backend) -> None:
    with pytest.raises(KeyRejected, match="zero"):
        backend.exchange(os.urandom(32), bytes(32))


@each_backend
def test_rfc_7748_iterated(backend: Backend) -> None:
    k = u = (9).to_bytes(32, "little")
    for _ in range(1000):
        k, u = backend.exchange(k, u), k
    assert k.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


def wycheproof() -> list[Any]:
    if not WYCHEPROOF.exists():
        reason = f"no Wycheproof cases: {WYCHEPROOF} is missing"
        return [pytest.param({}, id="none", marks=pytest.mark.skip(reason=reason))]
    groups = json.loads(WYCHEPROOF.read_bytes())["testGroups"]
    return [pytest.param(case, id=str(case["tcId"])) for group in groups for case in group["tests"]]


@each_backend
@pytest.mark.parametrize("case", wycheproof())
def test_wycheproof(backend: Backend, case: dict[str, Any]) -> None:
    private, public, shared = (bytes.fromhex(case[name]) for name in ("private", "public", "shared"))
    if not any(shared):
        with pytest.raises(KeyRejected):
            backend.exchange(private, public)
        with pytest.raises(KeyRejected):
            check_x25519_public(public)
    else:
        assert backend.exchange(private, public) == shared
    assert case["result"] in ("valid", "acceptable")
