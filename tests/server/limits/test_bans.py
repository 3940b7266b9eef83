"""Bans: what an operator may name, to whom they apply, and how they are stored."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clave_server.errors import AdminError, DamageError, Refusal
from clave_server.limits.bans import (
    Ban,
    BanKind,
    Bans,
    add_ban,
    check_ban,
    drop_damaged_bans,
    lift_ban,
    parse_ban,
    read_bans,
)
from clave_server.storage import schema
from clave_wire.messages import Code


def is_banned(bans: Bans, ip: str = "192.0.2.1", name: str = "") -> bool:
    try:
        bans.check(ip, name)
    except Refusal as refusal:
        return refusal.code is Code.BANNED
    return False


@pytest.mark.parametrize(
    ("text", "kind", "subject"),
    [
        ("192.0.2.7", BanKind.NETWORK, "192.0.2.7"),
        ("192.0.2.7/24", BanKind.NETWORK, "192.0.2.0/24"),
        ("2001:DB8::1", BanKind.NETWORK, "2001:db8::/64"),
        ("2001:db8::1/128", BanKind.NETWORK, "2001:db8::1/128"),
        ("fe80::1%eth0", BanKind.NETWORK, "fe80::/64"),
        ("2001:db8:1:2:3::/64", BanKind.NETWORK, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", BanKind.NETWORK, "192.0.2.7"),
        ("::ffff:192.0.2.0/120", BanKind.NETWORK, "192.0.2.0/24"),
        ("::/0", BanKind.NETWORK, "::/0"),
        ("Red", BanKind.NAME, "red"),
        ("10", BanKind.NAME, "10"),
    ],
)
def test_names_addresses_and_networks_are_parsed(text: str, kind: BanKind, subject: str) -> None:
    ban = parse_ban(text)
    assert (ban.kind, ban.subject) == (kind, subject)
    assert parse_ban(subject) == ban


@pytest.mark.parametrize("text", ["", "two words", "192.0.2.0/33", "-x", "\x1b[2J"])
def test_a_text_that_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(AdminError) as error:
        parse_ban(text)
    assert str(error.value).isprintable()


def test_a_ban_of_a_name_applies_in_any_spelling() -> None:
    bans = Bans([parse_ban("Red")])
    assert is_banned(bans, name="red")
    assert is_banned(bans, name="RED")
    assert not is_banned(bans, name="redder")
    assert not is_banned(bans, name="")
    bans.lift(parse_ban("red"))
    assert not is_banned(bans, name="red")


def test_a_ban_of_an_address_applies_in_any_notation() -> None:
    bans = Bans([parse_ban("192.0.2.1"), parse_ban("fe80::/64")])
    assert is_banned(bans, "192.0.2.1")
    assert is_banned(bans, "::ffff:192.0.2.1")
    assert is_banned(bans, "fe80::1%eth0")
    assert not is_banned(bans, "192.0.2.2")
    assert not is_banned(bans, "::c000:201")


addresses = st.ip_addresses().map(str)


def network(ip: str, prefix: int) -> str:
    most = ipaddress.ip_address(ip).max_prefixlen
    return str(ipaddress.ip_network(f"{ip}/{prefix % (most + 1)}", strict=False))


networks = st.builds(network, addresses, st.integers(0, 128))


@given(st.lists(networks, max_size=8), st.sets(st.integers(0, 7)), addresses)
def test_bans_of_networks_apply_to_exactly_their_addresses(
    texts: list[str], lifted: set[int], ip: str
) -> None:
    kept = {parse_ban(text) for text in texts}
    bans = Bans(kept)
    for number in lifted:
        if number < len(texts):
            bans.lift(parse_ban(texts[number]))
            kept.discard(parse_ban(texts[number]))
    inside = any(ipaddress.ip_address(ip) in ipaddress.ip_network(ban.subject) for ban in kept)
    mapped = getattr(ipaddress.ip_address(ip), "ipv4_mapped", None)
    assert is_banned(bans, ip) == inside or mapped


def test_a_ban_of_an_ipv6_address_applies_to_its_whole_64() -> None:
    bans = Bans([parse_ban("2001:db8:7::1")])
    assert is_banned(bans, "2001:db8:7::ffff:1")
    assert not is_banned(bans, "2001:db8:7:1::1")


@pytest.mark.parametrize(
    "ban",
    [
        Ban(BanKind.NETWORK, "\x1b[31mx"),
        Ban(BanKind.NETWORK, "red"),
        Ban(BanKind.NETWORK, "192.0.2.7/24"),
        Ban(BanKind.NETWORK, "fe80::%\x1b[31m/64"),
        Ban(BanKind.NAME, ""),
        Ban(BanKind.NAME, "\x1b[31mx"),
    ],
)
def test_an_invalid_ban_is_refused(ban: Ban) -> None:
    with pytest.raises(AdminError) as error:
        check_ban(ban)
    assert str(error.value).isprintable()


@given(networks | st.sampled_from(["Red", "\ufdfa", "\u0149" * 32]))
def test_every_parsed_ban_is_valid(text: str) -> None:
    ban = parse_ban(text)
    check_ban(ban)
    assert ban.kind is BanKind.NETWORK or is_banned(Bans([ban]), name=text)


def test_an_invalid_stored_ban_does_not_disable_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    bans = Bans([Ban(BanKind.NETWORK, "nonsense"), parse_ban("red")])
    assert is_banned(bans, name="red")
    assert "nonsense" in capsys.readouterr().out


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE bans SET subject = 'rfd' WHERE subject = 'red'",
        "UPDATE bans SET subject = CAST(x'72ff64' AS TEXT) WHERE subject = 'red'",
        "UPDATE bans SET kind = 'network' WHERE subject = 'red'",
        "UPDATE bans SET note = 'else' WHERE subject = 'red'",
        "UPDATE bans SET made_at = 7 WHERE subject = 'red'",
        "UPDATE bans SET seal = x'00' WHERE subject = 'red'",
        "DELETE FROM bans WHERE subject = 'red'",
        "UPDATE totals SET number = 3",
        "UPDATE totals SET seal = x''",
        "DELETE FROM totals",
    ],
)
def test_a_damaged_or_missing_ban_is_an_error_until_it_is_dropped(tmp_path: Path, damage: str) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    for subject in ("red", "blue"):
        add_ban(connection, Ban(BanKind.NAME, subject, "spam", 1))
    assert len(read_bans(connection)) == 2
    connection.execute(damage)
    for _ in range(2):
        with pytest.raises(DamageError, match="clave-relay unban --damaged"):
            read_bans(connection)
        add_ban(connection, Ban(BanKind.NAME, "green"))  # a change hides nothing
        lift_ban(connection, Ban(BanKind.NAME, "green"))
    forgotten = drop_damaged_bans(connection)
    assert len(forgotten) == ("bans SET" in damage)
    left = {ban.subject for ban in read_bans(connection)}
    assert left == ({"blue"} if "bans" in damage else {"blue", "red"})
    connection.close()


def test_bans_are_stored_and_read_back(tmp_path: Path) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    first = Ban(BanKind.NAME, "red", "spam", 1)
    second = Ban(BanKind.NETWORK, "192.0.2.0/24", "", 2)
    add_ban(connection, second)
    add_ban(connection, first)
    add_ban(connection, Ban(BanKind.NETWORK, "192.0.2.0/24", "once more", 3))
    assert read_bans(connection) == [first, Ban(BanKind.NETWORK, "192.0.2.0/24", "once more", 2)]
    assert lift_ban(connection, first)
    assert not lift_ban(connection, first)
    assert len(read_bans(connection)) == 1
    connection.close()
