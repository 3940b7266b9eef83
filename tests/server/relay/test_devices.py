"""Several devices of an account at the relay: who talks with whom, who is refused, what is kept."""

from __future__ import annotations

import pytest

from clave_crypto.identity import AccountKey, DeviceKey
from clave_server.admin.integrity import check_rows
from clave_server.errors import DamageError
from clave_server.relay import devices
from clave_server.storage import schema
from clave_wire import messages as m
from clave_wire.limits import MAX_REVOCATIONS
from relaykit import ConnectionClosed, Participant, RawClient, RelayUnderTest


async def refused(client: RawClient, message: m.ToRelay) -> tuple[m.Code, str]:
    answer = await client.ask(message)
    assert isinstance(answer, m.Refused), answer
    return answer.code, answer.text


async def two_devices(relay: RelayUnderTest, name: str = "red") -> tuple[RawClient, RawClient]:
    first = await relay.join(name)
    return first, await relay.join(Participant(name, first.participant.account))


def newcomer(name: str = "red") -> Participant:
    """Return a device without a certificate, as it comes to be paired."""
    participant = Participant(name, AccountKey.generate())
    participant.identity = b""
    return participant


async def open_pairing(host: RawClient, guest: Participant) -> None:
    assert isinstance(await host.ask(m.OpenPairing(host.next_id(), guest.device)), m.Done)


async def test_what_a_device_passes_on_reaches_its_sibling_and_nobody_else(relay: RelayUnderTest) -> None:
    red, laptop = await two_devices(relay)
    blue = await relay.join("blue")
    assert isinstance(await red.ask(m.PassOn(1, laptop.participant.device, b"hello")), m.Done)
    assert await laptop.expect(m.Passed) == m.Passed(red.participant.device, b"hello")
    away = (m.Code.BAD_REQUEST, "that device is not connected")
    assert await refused(red, m.PassOn(2, blue.participant.device, b"hello")) == away
    assert await refused(red, m.PassOn(3, bytes(32), b"hello")) == away
    await laptop.close()
    while True:
        answer = await red.ask(m.PassOn(4, laptop.participant.device, b"hello"))
        if isinstance(answer, m.Refused):
            break
    assert (answer.code, answer.text) == away


async def test_a_device_that_comes_to_be_paired_talks_with_its_host_only(relay: RelayUnderTest) -> None:
    red, laptop = await two_devices(relay)
    guest = newcomer()
    with pytest.raises(ConnectionClosed, match="no device waits to be paired by this code"):
        await relay.join(guest)
    await open_pairing(red, guest)
    new = await relay.join(guest)
    assert (new.logged_in.name, new.logged_in.registered) == ("red", False)
    assert await red.expect(m.Passed) == m.Passed(guest.device, b"")
    assert isinstance(await new.ask(m.PassOn(1, red.participant.device, b"key")), m.Done)
    assert await red.expect(m.Passed) == m.Passed(guest.device, b"key")
    assert isinstance(await red.ask(m.PassOn(9, guest.device, b"certificate")), m.Done)
    assert await new.expect(m.Passed) == m.Passed(red.participant.device, b"certificate")
    assert (await refused(new, m.PassOn(2, laptop.participant.device, b"x")))[0] is m.Code.BAD_REQUEST
    assert (await refused(laptop, m.PassOn(3, guest.device, b"x")))[0] is m.Code.BAD_REQUEST
    await new.send(m.Lookup(3, "red"))
    assert await new.closed() is m.Code.UNEXPECTED
    answer = await red.ask(m.Lookup(10, "red"))
    assert isinstance(answer, m.Account)
    assert guest.device not in dict(answer.devices)


async def test_a_pairing_is_for_one_device_and_ends(
    relay: RelayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    red = await relay.join("red")
    guest, second = newcomer(), newcomer()
    await open_pairing(red, guest)
    new = await relay.join(guest)
    with pytest.raises(ConnectionClosed, match="another device uses this code already"):
        await relay.join(guest)
    await red.expect(m.Passed)
    await open_pairing(red, second)
    assert await new.closed() is m.Code.TIMEOUT
    with pytest.raises(ConnectionClosed, match="no device waits"):
        await relay.join(guest)
    assert isinstance(await red.ask(m.OpenPairing(5, b"")), m.Done)
    with pytest.raises(ConnectionClosed, match="no device waits"):
        await relay.join(second)
    monkeypatch.setattr(devices, "PAIRING_SECONDS", 0.5)
    third = newcomer()
    await open_pairing(red, third)
    late = await relay.join(third)
    assert await late.closed() is m.Code.TIMEOUT
    monkeypatch.undo()
    fourth = newcomer()
    await red.expect(m.Passed)
    await open_pairing(red, fourth)
    last = await relay.join(fourth)
    await red.close()
    assert await last.closed() is m.Code.TIMEOUT


async def test_who_signs_with_another_key_is_not_paired(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    guest = newcomer()
    await open_pairing(red, guest)
    guest.key = DeviceKey.generate()
    with pytest.raises(ConnectionClosed, match="the login does not hold"):
        await relay.join(guest)


async def test_of_sixteen_devices_none_pairs_another(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    others = [Participant("red", red.participant.account) for _ in range(15)]
    for each in others:
        await relay.join(each)
    text = "an account has at most 16 devices; remove one first"
    assert await refused(red, m.OpenPairing(1, newcomer().device)) == (m.Code.LIMIT, text)
    with pytest.raises(ConnectionClosed, match=text):
        await relay.join(Participant("red", red.participant.account))
    revocation = red.participant.account.revoke(others[0].device)
    assert isinstance(await red.ask(m.RemoveDevice(2, others[0].device, revocation)), m.Done)
    assert isinstance(await red.ask(m.OpenPairing(3, newcomer().device)), m.Done)
    await relay.join(Participant("red", red.participant.account))


async def test_a_removed_device_is_out_for_good(relay: RelayUnderTest) -> None:
    red, laptop = await two_devices(relay)
    await laptop.ask(m.PublishKeyPackages(1, 1, [b"one"], b"last"))
    device = laptop.participant.device
    revocation = red.participant.account.revoke(device)
    assert isinstance(await red.ask(m.RemoveDevice(1, device, revocation)), m.Done)
    assert await laptop.closed() is m.Code.DEVICE_REMOVED
    for name in ("blue", "green"):
        with pytest.raises(ConnectionClosed, match="your account removed this device"):
            await relay.join(laptop.participant)
        again = Participant("red", red.participant.account)
        again.key, again.device = laptop.participant.key, device
        again.identity = red.participant.account.certify("red", "other name", device)
        with pytest.raises(ConnectionClosed, match="your account removed this device"):
            await relay.join(again)
        answer = await red.ask(m.Lookup(2, "red"))
        assert isinstance(answer, m.Account)
        assert device not in dict(answer.devices)
        assert (await refused(red, m.ClaimKeyPackages(3, "red", 1)))[0] is m.Code.NO_KEY_PACKAGE
        blue = await relay.join(name)
        assert await blue.ask(m.FindRevocations(4, "red")) == m.Revocations(4, [(device, revocation)])
        assert (await refused(blue, m.FindRevocations(5, "nobody")))[0] is m.Code.NO_SUCH_NAME
        await relay.restart()
        red = await relay.join(red.participant)


async def test_only_the_account_removes_its_devices(relay: RelayUnderTest) -> None:
    red, laptop = await two_devices(relay)
    blue = await relay.join("blue")
    device = laptop.participant.device
    bad = (m.Code.BAD_REQUEST, "the account did not revoke this device")
    for who, signature in (
        (red, laptop.participant.key.sign(device)),
        (red, blue.participant.account.revoke(device)),
        (blue, red.participant.account.revoke(device)),
        (red, red.participant.account.revoke(blue.participant.device)),
    ):
        assert await refused(who, m.RemoveDevice(1, device, signature)) == bad
    # A revocation of another's device keeps nobody out but from the own account.
    own = blue.participant.account.revoke(device)
    assert isinstance(await blue.ask(m.RemoveDevice(2, device, own)), m.Done)
    assert isinstance(await laptop.ask(m.Lookup(3, "red")), m.Account)
    await laptop.close()
    await relay.join(laptop.participant)


async def test_an_account_cannot_fill_the_disk_with_revocations(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    account = red.participant.account
    connection = schema.connect_writer(relay.database)
    connection.execute(
        "INSERT INTO revocations SELECT 1, randomblob(32), x'', x'' FROM"
        " (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n)",
        (MAX_REVOCATIONS,),
    )
    connection.execute("UPDATE accounts SET revoked = seal('revoked', id, ?)", (MAX_REVOCATIONS,))
    connection.close()
    device = bytes(32)
    answer = await refused(red, m.RemoveDevice(1, device, account.revoke(device)))
    assert answer == (m.Code.LIMIT, f"an account revokes at most {MAX_REVOCATIONS} devices")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE revocations SET device = zeroblob(32)", "a revocation of device"),
        ("UPDATE revocations SET signature = zeroblob(64)", "a revocation of device"),
        ("DELETE FROM revocations", "the count of revoked devices of account 1"),
    ],
)
async def test_damage_of_a_revocation_lets_nobody_in(relay: RelayUnderTest, damage: str, words: str) -> None:
    red, laptop = await two_devices(relay)
    device = laptop.participant.device
    await red.ask(m.RemoveDevice(1, device, red.participant.account.revoke(device)))
    connection = schema.connect_writer(relay.database)
    check_rows(connection)
    connection.execute(damage)
    with pytest.raises(DamageError, match=words):
        check_rows(connection)
    connection.close()
    answer = await red.ask(m.FindRevocations(2, "red"))
    assert isinstance(answer, m.Refused)
    assert answer.code is m.Code.STORAGE
    if damage.startswith("DELETE"):
        with pytest.raises(ConnectionClosed, match="damaged on disk"):
            await relay.join(laptop.participant)


async def test_one_devices_key_package_is_claimed_alone(relay: RelayUnderTest) -> None:
    red, laptop = await two_devices(relay)
    for client, package in ((red, b"of red"), (laptop, b"of laptop")):
        await client.ask(m.PublishKeyPackages(1, 1, [package], b""))
    blue = await relay.join("blue")
    device = laptop.participant.device
    assert await blue.ask(m.ClaimKeyPackages(1, "red", 1, device)) == m.KeyPackages(1, [b"of laptop"])
    assert (await refused(blue, m.ClaimKeyPackages(2, "red", 1, device)))[0] is m.Code.NO_KEY_PACKAGE
    assert await blue.ask(m.ClaimKeyPackages(3, "red", 1)) == m.KeyPackages(3, [b"of red"])
