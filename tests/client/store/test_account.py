"""Key packages of a profile: of each suite enough, and a last resort that is renewed."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client.rooms.suites import NEW_ROOMS, OFFERED, is_post_quantum, suite_words
from clave_client.store.account import POOL_FULL, POOL_LOW
from clave_crypto.mls import SUITES, CipherSuite, KeyPackageSource, decode_key_package
from client.memory_relay import NOW, Member

MONTH = 31 * 24 * 3600


@pytest.mark.parametrize("suite", OFFERED, ids=lambda suite: suite.name)
def test_each_suite_is_topped_up_by_itself(tmp_path: Path, suite: CipherSuite) -> None:
    account = Member(tmp_path, "red").account
    for other in OFFERED:
        if other is not suite:
            assert account.key_packages(other, 0, NOW) is not None
            account.published(other, b"last resort", NOW)
    fresh = account.key_packages(suite, 0, NOW)
    assert fresh is not None
    packages, last_resort, replace, not_after = fresh
    source = decode_key_package(packages[0]).leaf_node.source
    assert isinstance(source, KeyPackageSource)
    assert (replace, not_after) == (True, source.not_after)
    assert len(packages) == POOL_FULL
    assert decode_key_package(last_resort).last_resort
    for package in (*packages, last_resort):
        key_package = decode_key_package(package)
        assert key_package.cipher_suite == suite.id
        reference = suite.ref_hash(b"MLS 1.0 KeyPackage Reference", key_package.encode())
        assert account.bundle(reference) is not None, "its private half is on disk first"
    lost = account.key_packages(suite, POOL_FULL, NOW)
    assert lost is not None
    assert (len(lost.packages), lost.last_resort) == (POOL_FULL, last_resort), "it never reached the relay"
    account.published(suite, lost[1], NOW)
    assert account.key_packages(suite, POOL_LOW, NOW) is None
    more = account.key_packages(suite, POOL_LOW - 1, NOW)
    assert more is not None
    assert (len(more.packages), more.last_resort, more.replace) == (POOL_FULL - POOL_LOW + 1, b"", False)
    account.published(suite, more[1], NOW + MONTH)
    renewed = account.key_packages(suite, POOL_FULL, NOW + MONTH)
    assert renewed is not None
    assert (len(renewed.packages), renewed.last_resort != last_resort) == (POOL_FULL, True)
    assert renewed.replace


def test_the_published_last_resort_stays_usable_after_failed_publications(
    tmp_path: Path,
) -> None:
    account = Member(tmp_path, "red").account
    at_relay = {}
    for suite in OFFERED:
        fresh = account.key_packages(suite, 0, NOW)
        assert fresh is not None
        account.published(suite, fresh[1], NOW)
        at_relay[suite] = decode_key_package(fresh[1])
    for number in range(30):  # somebody claims them all, and the connection breaks after each login
        for suite in OFFERED:
            account.key_packages(suite, 0, NOW + MONTH + number)
    for suite, package in at_relay.items():
        assert account.bundle(suite.ref_hash(b"MLS 1.0 KeyPackage Reference", package.encode())) is not None


def test_an_old_unpublished_last_resort_is_replaced(tmp_path: Path) -> None:
    account = Member(tmp_path, "red").account
    first, again = (account.key_packages(NEW_ROOMS, POOL_FULL, NOW + later) for later in (0, MONTH - 86400))
    later = account.key_packages(NEW_ROOMS, POOL_FULL, NOW + MONTH)
    assert first is not None
    assert again is not None
    assert again.last_resort == first.last_resort
    assert later is not None
    assert later[1] != first[1]


def test_new_rooms_are_post_quantum_and_older_ones_can_be_joined() -> None:
    assert is_post_quantum(NEW_ROOMS)
    assert [suite.id for suite in OFFERED] == [0xF47A, 1]
    assert not is_post_quantum(SUITES[1])
    assert suite_words(1) == SUITES[1].words
    assert suite_words(0xF4FF) == "cipher suite 0xf4ff"


@pytest.mark.parametrize("replace", [False, True])
def test_published_packages_stay_usable_after_failed_publications(tmp_path: Path, replace: bool) -> None:
    account = Member(tmp_path, "red").account
    published = account.key_packages(NEW_ROOMS, 0, NOW)
    assert published is not None
    account.published(NEW_ROOMS, published[1], NOW)
    for number in range(60):
        assert account.key_packages(NEW_ROOMS, POOL_LOW - 1, NOW + number, replace=replace) is not None
    for package in map(decode_key_package, published[0]):
        reference = NEW_ROOMS.ref_hash(b"MLS 1.0 KeyPackage Reference", package.encode())
        assert account.bundle(reference) is not None
