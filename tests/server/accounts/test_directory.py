"""Logging in, names, and key packages, through a real relay."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clave_crypto.identity import AccountKey
from clave_host.clock import now_ms
from clave_server.accounts.directory import MAX_DEVICES
from clave_server.accounts.registration import RegistrationPolicy
from clave_server.option_values import RegistrationMode
from clave_wire import messages as m
from clave_wire.limits import MAX_SUITES
from relaykit import ConnectionClosed, Participant, RelayUnderTest, running_relay

DAY_SECONDS = 24 * 60 * 60


async def refusal(relay: RelayUnderTest, participant: Participant, token: str = "") -> m.Code | None:
    with pytest.raises(ConnectionClosed) as caught:
        await relay.join(participant, token)
    return caught.value.code


async def test_a_name_is_registered_once_and_recognised_afterwards(relay: RelayUnderTest) -> None:
    red = Participant("red")
    first = await relay.join(red)
    incarnation = first.logged_in.incarnation
    assert abs(first.logged_in.time - now_ms()) < 60_000
    assert first.logged_in == m.LoggedIn("red", True, [], 4, incarnation, 0, first.logged_in.time)
    await relay.restart()
    again = await relay.join(red)
    assert again.logged_in == m.LoggedIn("red", False, [], 4, incarnation, 0, again.logged_in.time)


async def test_an_account_has_several_devices_up_to_the_limit(relay: RelayUnderTest) -> None:
    red = Participant("red")
    await relay.join(red)
    for _ in range(MAX_DEVICES - 1):
        another = await relay.join(Participant("red", red.account))
        assert not another.logged_in.registered
    assert await refusal(relay, Participant("red", red.account)) is m.Code.LIMIT
    account = await another.ask(m.Lookup(1, "red"))
    assert isinstance(account, m.Account)
    assert (red.device, red.identity) in account.devices
    assert len(account.devices) == MAX_DEVICES


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("blue", m.Code.NAME_TAKEN),
        ("BLUE", m.Code.NAME_TAKEN),
        ("b1ue", m.Code.NAME_CONFUSABLE),
        ("bIue", m.Code.NAME_CONFUSABLE),
        ("\u042clue", m.Code.BAD_NAME),
        ("a b", m.Code.BAD_NAME),
        ("x" * 33, m.Code.BAD_NAME),
        ("a\u202eb", m.Code.BAD_NAME),
        ("a\nb", m.Code.BAD_NAME),
    ],
)
async def test_an_invalid_or_confusable_name_is_refused(
    relay: RelayUnderTest, name: str, code: m.Code
) -> None:
    await relay.join("blue")
    assert await refusal(relay, Participant(name)) is code
    green = await relay.join("green")
    refused = await green.ask(m.Lookup(1, name))
    if name != "blue":
        assert isinstance(refused, m.Refused)
        assert refused.code is m.Code.NO_SUCH_NAME


async def test_only_one_of_concurrent_registrations_gets_the_name(relay: RelayUnderTest) -> None:
    outcomes = await asyncio.gather(
        *(relay.join(Participant("red")) for _ in range(10)), return_exceptions=True
    )
    failed = [outcome for outcome in outcomes if isinstance(outcome, ConnectionClosed)]
    assert len(failed) == 9
    assert {outcome.code for outcome in failed} == {m.Code.NAME_TAKEN}


async def test_an_account_keeps_its_name(relay: RelayUnderTest) -> None:
    red = Participant("red")
    await relay.join(red)
    assert await refusal(relay, Participant("scarlet", red.account)) is m.Code.BAD_LOGIN


async def test_a_device_keeps_its_account(relay: RelayUnderTest) -> None:
    red = Participant("red")
    await relay.join(red)
    red.account = AccountKey.generate()
    red.identity = red.account.certify("crimson", "laptop", red.device)
    assert await refusal(relay, red) is m.Code.BAD_LOGIN


async def test_a_device_can_renew_its_identity(relay: RelayUnderTest) -> None:
    red = Participant("red")
    await relay.join(red)
    red.identity = red.account.certify("red", "new laptop", red.device)
    again = await relay.join(red)
    account = await again.ask(m.Lookup(1, "red"))
    assert account == m.Account(1, [(red.device, red.identity)])


async def test_closed_registration_refuses_new_names_and_admits_registered_ones(tmp_path: Path) -> None:
    red = Participant("red")
    async with running_relay(tmp_path) as relay:
        await relay.join(red)
    async with running_relay(tmp_path, registration=RegistrationPolicy(RegistrationMode.CLOSED)) as relay:
        assert await refusal(relay, Participant("blue")) is m.Code.CLOSED
        await relay.join(red)
        await relay.join(Participant("red", red.account))


async def test_a_token_is_needed_only_to_register(tmp_path: Path) -> None:
    async with running_relay(
        tmp_path, registration=RegistrationPolicy(RegistrationMode.TOKEN, "sesame")
    ) as relay:
        red = Participant("red")
        assert await refusal(relay, red) is m.Code.TOKEN
        assert await refusal(relay, red, "wrong") is m.Code.TOKEN
        await relay.join(red, "sesame")
        await relay.join(red)


def test_a_token_is_not_shown_by_repr() -> None:
    assert "sesame" not in repr(RegistrationPolicy(RegistrationMode.TOKEN, "sesame"))


# --- logins that do not hold ---------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["signature", "device", "identity", "certificate", "nonce"])
async def test_a_login_with_an_invalid_part_is_refused(relay: RelayUnderTest, fault: str) -> None:
    red, mallory = Participant("red"), Participant("mallory")
    await relay.join(red)
    client = await relay.connect()
    await client.greet()
    certificate = bytes(32) if fault == "certificate" else client.certificate
    transcript = client.connection.transcript(certificate, red.identity)
    if fault == "nonce":  # a login recorded on another connection
        other = await relay.connect()
        await other.greet()
        transcript = other.connection.transcript(certificate, red.identity)
    key = mallory.key if fault == "signature" else red.key
    device = mallory.device if fault == "device" else red.device
    identity = mallory.identity if fault == "identity" else red.identity
    await client.send(m.Login(device, identity, key.sign(transcript), ""))
    assert await client.closed() is m.Code.BAD_LOGIN


async def test_a_newer_connection_of_a_device_replaces_the_older_one(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    again = await relay.join(red.participant)
    assert await red.closed() is m.Code.REPLACED
    assert (await blue.next_presence()).text == "connected again"
    await again.resume(1)
    assert (await blue.next_presence()).online
    await again.say(b"hello")
    assert (await blue.expect(m.Entry)).payload == b"hello"


async def test_submissions_of_the_replaced_connection_are_acknowledged_to_the_newer_one(
    relay: RelayUnderTest,
) -> None:
    (red,) = await relay.room_of("red")
    submit = red.entry(b"hello")
    await red.send(submit)
    again = await relay.join(red.participant)
    await again.send(submit)
    assert (await again.expect(m.Accepted)).seq == 2
    assert await again.ask(submit) == m.Accepted(submit.room, submit.submission, 2)


# --- key packages --------------------------------------------------------------------------------------


async def test_key_packages_are_counted_and_handed_out_once(relay: RelayUnderTest) -> None:
    red, blue = await relay.join("red"), await relay.join("blue")
    packages = [b"one", b"two"]
    assert await red.ask(m.PublishKeyPackages(1, 1, packages, b"last resort")) == m.Done(1)
    claimed = [await blue.ask(m.ClaimKeyPackages(i, "red", 1)) for i in range(4)]
    assert claimed == [
        m.KeyPackages(0, [b"one"]),
        m.KeyPackages(1, [b"two"]),
        m.KeyPackages(2, [b"last resort"]),
        m.KeyPackages(3, [b"last resort"]),
    ]
    await red.ask(m.PublishKeyPackages(2, 1, [b"three"], b""))
    again = await relay.join(red.participant)
    assert again.logged_in.key_packages == [(1, 1)]


async def test_each_suite_has_its_own_pool_and_last_resort(relay: RelayUnderTest) -> None:
    red, blue = await relay.join("red"), await relay.join("blue")
    await red.ask(m.PublishKeyPackages(1, 1, [b"one"], b"last of 1"))
    await red.ask(m.PublishKeyPackages(2, 0xF47A, [b"two", b"three"], b"last of f47a"))
    again = await relay.join(red.participant)
    assert again.logged_in.key_packages == [(1, 1), (0xF47A, 2)]
    claimed = [await blue.ask(m.ClaimKeyPackages(i, "red", suite)) for i, suite in enumerate((0xF47A, 1, 1))]
    assert claimed == [
        m.KeyPackages(0, [b"two"]),
        m.KeyPackages(1, [b"one"]),
        m.KeyPackages(2, [b"last of 1"]),
    ]
    refused = await blue.ask(m.ClaimKeyPackages(3, "red", 7))
    assert isinstance(refused, m.Refused)
    assert (refused.code, "0x0007" in refused.text) == (m.Code.NO_KEY_PACKAGE, True)


async def test_the_number_of_suites_of_a_device_is_limited(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    for suite in range(1, MAX_SUITES + 1):
        assert isinstance(await red.ask(m.PublishKeyPackages(suite, suite, [b"x"], b"last")), m.Done)
    refused = await red.ask(m.PublishKeyPackages(99, 99, [], b"last"))
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.LIMIT
    assert isinstance(await red.ask(m.PublishKeyPackages(100, MAX_SUITES, [b"y"], b"newer")), m.Done)
    again = await relay.join(red.participant)
    assert len(again.logged_in.key_packages) == MAX_SUITES


async def test_a_claim_takes_one_key_package_of_each_device(relay: RelayUnderTest) -> None:
    red = Participant("red")
    laptop, phone = await relay.join(red), await relay.join(Participant("red", red.account))
    await laptop.ask(m.PublishKeyPackages(1, 1, [b"laptop"], b""))
    await phone.ask(m.PublishKeyPackages(1, 1, [b"phone"], b""))
    answer = await laptop.ask(m.ClaimKeyPackages(2, "red", 1))
    assert isinstance(answer, m.KeyPackages)
    assert sorted(answer.packages) == [b"laptop", b"phone"]


async def test_concurrent_claims_never_get_the_same_key_package(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    packages = [b"%d" % number for number in range(100)]
    await red.ask(m.PublishKeyPackages(1, 1, packages, b""))
    claimants = [await relay.join(f"claimant{number}") for number in range(10)]

    async def claim(client_number: int) -> list[bytes]:
        got: list[bytes] = []
        client = claimants[client_number]
        for number in range(10):
            answer = await client.ask(m.ClaimKeyPackages(number, "red", 1))
            assert isinstance(answer, m.KeyPackages)
            got += answer.packages
        return got

    claimed = await asyncio.gather(*map(claim, range(10)))
    assert sorted(package for got in claimed for package in got) == sorted(packages)


async def test_the_size_of_a_pool_is_limited(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    assert isinstance(await red.ask(m.PublishKeyPackages(1, 1, [b"x"] * 60, b"")), m.Done)
    answer = await red.ask(m.PublishKeyPackages(2, 1, [b"x"] * 60, b""))
    assert isinstance(answer, m.Refused)
    assert answer.code is m.Code.LIMIT
    again = await relay.join(red.participant)
    assert again.logged_in.key_packages == [(1, 60)]


async def test_publishing_with_replace_deletes_earlier_key_packages(relay: RelayUnderTest) -> None:
    red, blue = await relay.join("red"), await relay.join("blue")
    phone = await relay.join(Participant("red", red.participant.account))
    for client, name in ((red, b"red "), (phone, b"phone "), (blue, b"blue ")):
        for suite in (1, 2):
            await client.ask(m.PublishKeyPackages(1, suite, [name + b"old"] * 50, name + b"last"))
    replaced = m.PublishKeyPackages(2, 1, [b"red new"], b"", replace=True)
    assert await red.ask(replaced) == m.Done(2)
    assert (await relay.join(red.participant)).logged_in.key_packages == [(1, 1), (2, 50)]

    async def claim(name: str, suite: int) -> set[bytes]:
        answer = await blue.ask(m.ClaimKeyPackages(3, name, suite))
        assert isinstance(answer, m.KeyPackages)
        return set(answer.packages)

    assert await claim("red", 1) == {b"red new", b"phone old"}
    assert await claim("red", 1) == {b"phone old"}  # the last resort is gone, too
    assert await claim("red", 2) == {b"red old", b"phone old"}
    assert await claim("blue", 1) == {b"blue old"}


async def test_a_failed_replace_deletes_nothing(relay: RelayUnderTest) -> None:
    red, blue = await relay.join("red"), await relay.join("blue")
    await red.ask(m.PublishKeyPackages(1, 1, [b"one"], b"last"))
    await red.ask(m.PublishKeyPackages(2, 2, [b"two"] * 50, b""))
    refused = await red.ask(m.PublishKeyPackages(3, 1, [b"many"] * 60, b"", replace=True))
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.LIMIT
    claims = [await blue.ask(m.ClaimKeyPackages(4, "red", 1)) for _ in range(2)]
    assert claims == [m.KeyPackages(4, [b"one"]), m.KeyPackages(4, [b"last"])]
    assert await red.ask(m.PublishKeyPackages(5, 1, [b"many"] * 50, b"", replace=True)) == m.Done(5)


async def test_expired_key_packages_are_neither_counted_nor_handed_out(relay: RelayUnderTest) -> None:
    red, blue = await relay.join("red"), await relay.join("blue")
    now = now_ms() // 1000
    for number, not_after in enumerate((now - 10, now + 1000, 0)):
        package = b"%d" % number
        await red.ask(m.PublishKeyPackages(number, 1, [package] * 30, b"last", not_after=not_after))
    await red.ask(m.PublishKeyPackages(9, 2, [b"two"] * 40, b"", not_after=now - 10))
    assert (await relay.join(red.participant)).logged_in.key_packages == [(1, 60)]
    claimed = [await blue.ask(m.ClaimKeyPackages(i, "red", 1)) for i in range(61)]
    packages = [package for each in claimed if isinstance(each, m.KeyPackages) for package in each.packages]
    assert packages == [b"1"] * 30 + [b"2"] * 30 + [b"last"]
    refused = await blue.ask(m.ClaimKeyPackages(99, "red", 2))
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.NO_KEY_PACKAGE, "which is no damage"


async def test_no_key_package_expires_by_a_clock_that_jumped(
    relay: RelayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    red, blue = await relay.join("red"), await relay.join("blue")
    month = now_ms() // 1000 + 30 * DAY_SECONDS
    await red.ask(m.PublishKeyPackages(1, 1, [b"one", b"two"], b"last", not_after=month))
    monkeypatch.setattr(
        "clave_server.relay.client_handler.now_ms", lambda: now_ms() + 365 * DAY_SECONDS * 1000
    )
    red = await relay.join(red.participant)
    assert red.logged_in.key_packages == [(1, 2)]
    assert await blue.ask(m.ClaimKeyPackages(2, "red", 1)) == m.KeyPackages(2, [b"one"])
    monkeypatch.setattr(
        "clave_server.rooms.retention_task.now_ms", lambda: now_ms() + 365 * DAY_SECONDS * 1000
    )
    await relay.relay.retention_task.look_at_clock()
    assert await blue.ask(m.ClaimKeyPackages(3, "red", 1)) == m.KeyPackages(3, [b"two"])
    await red.ask(m.PublishKeyPackages(4, 1, [b"three"], b"last", not_after=month))
    await relay.relay.retention_task.confirm_clock()
    assert await blue.ask(m.ClaimKeyPackages(5, "red", 1)) == m.KeyPackages(5, [b"last"])


async def test_expired_key_packages_take_no_place(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    for number in range(4):
        assert isinstance(
            await red.ask(m.PublishKeyPackages(number, 1, [b"x"] * 60, b"", not_after=1)), m.Done
        )
    assert (await relay.join(red.participant)).logged_in.key_packages == []


async def test_claims_of_unknown_names_and_of_empty_pools_are_refused(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    for name, code in (("red", m.Code.NO_KEY_PACKAGE), ("nobody", m.Code.NO_SUCH_NAME)):
        answer = await red.ask(m.ClaimKeyPackages(1, name, 1))
        assert isinstance(answer, m.Refused)
        assert answer.code is code


async def test_a_connection_with_a_renewed_identity_replaces_the_older_one_in_its_rooms(
    relay: RelayUnderTest,
) -> None:
    (red,) = await relay.room_of("red")
    participant = red.participant
    participant.identity = participant.account.certify("red", "renamed laptop", participant.device)
    again = await relay.join(participant)
    assert await red.closed() is m.Code.REPLACED
    await again.resume(1)
    assert (await again.say(b"hello")).seq == 2
