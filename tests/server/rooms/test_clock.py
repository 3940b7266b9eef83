"""A relay whose clock jumped: it deletes nothing by it, says so, and waits for a day or for its operator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from clave_host.clock import now_ms
from clave_server.accounts.tokens import make_token, spend_token, token_digest
from clave_server.admin.request_handler import AdminHandler
from clave_server.admin.requests import Deleted, Prune
from clave_server.errors import AdminError, Refusal
from clave_server.rooms.retention import RetentionPolicy
from clave_server.storage import schema
from clave_server.storage.run_clock import RunTime, confirm_clock, find_jump, note_time
from commandkit import make_folder, run
from relaykit import RelayUnderTest, running_relay

HOUR = 60 * 60 * 1000
DAY = 24 * HOUR
YEAR = 365 * DAY
NOW = 60 * YEAR


@pytest.fixture
def database(tmp_path: Path) -> Iterator[apsw.Connection]:
    connection = schema.connect_writer(tmp_path / "relay.db")
    note_time(connection, NOW)
    yield connection
    connection.close()


@pytest.mark.parametrize("step", [0, HOUR, 7 * DAY, -HOUR])
def test_a_clock_that_goes_on_is_believed_at_a_start(database: apsw.Connection, step: int) -> None:
    assert note_time(database, NOW + step) is None
    assert find_jump(database, NOW + step) is None


def ran(time: int, slept: int = 0) -> RunTime:
    return RunTime(time, slept)


@pytest.mark.parametrize("step", [YEAR, 7 * DAY + 1, -2 * DAY, -NOW])
def test_a_clock_that_jumped_is_doubted_until_the_relay_has_run_for_a_day(
    database: apsw.Connection, step: int
) -> None:
    at = NOW + step
    jump = note_time(database, at)
    assert jump is not None
    assert jump[:3] == (NOW, at, 0)
    for hours in range(1, 24):
        jump = note_time(database, at + hours * HOUR, ran(HOUR))
        assert jump is not None
        assert jump[:3] == (NOW + hours * HOUR, at + hours * HOUR, hours * HOUR)
    assert note_time(database, at + DAY, ran(HOUR)) is None
    assert note_time(database, at + DAY + HOUR, ran(HOUR)) is None


def test_a_doubted_clock_does_not_say_how_long_it_has_gone_on(database: apsw.Connection) -> None:
    assert note_time(database, NOW + YEAR) is not None
    assert note_time(database, NOW + YEAR + 2 * DAY, ran(HOUR)) is not None
    for days in range(3, 9):  # started again, for a moment a day
        assert note_time(database, NOW + YEAR + days * DAY) is not None


def test_the_time_that_a_relay_ran_counts_across_restarts(database: apsw.Connection) -> None:
    at = NOW + YEAR
    assert note_time(database, at) is not None
    assert note_time(database, at + 12 * HOUR, ran(12 * HOUR)) is not None
    assert note_time(database, at + DAY) is not None
    assert note_time(database, at + DAY + 12 * HOUR, ran(12 * HOUR)) is None


@pytest.mark.parametrize("step", [6 * DAY, 3 * HOUR, -2 * HOUR])
def test_a_running_relay_doubts_a_small_step(database: apsw.Connection, step: int) -> None:
    assert note_time(database, NOW + HOUR, ran(HOUR)) is None
    assert note_time(database, NOW + 2 * HOUR + step, ran(HOUR)) is not None
    if step > 0:
        assert note_time(database, NOW + 2 * HOUR + step + 1) is not None, "also when it is started again"
    assert note_time(database, NOW + 3 * HOUR, ran(HOUR)) is None, "it was set"


def test_a_machine_that_was_suspended_is_not_doubted(database: apsw.Connection) -> None:
    assert note_time(database, NOW + 10 * HOUR, ran(HOUR, 9 * HOUR)) is None
    assert note_time(database, NOW + 30 * HOUR, ran(HOUR, 9 * HOUR)) is not None


def test_a_clock_that_is_set_right_is_believed_at_once(database: apsw.Connection) -> None:
    assert note_time(database, NOW + YEAR) is not None
    assert note_time(database, NOW + HOUR) is None
    assert note_time(database, NOW + YEAR) is not None
    assert note_time(database, NOW + 3 * DAY, ran(HOUR)) is None, "the relay was off before"


def test_a_clock_that_jumps_again_is_doubted_for_another_day(database: apsw.Connection) -> None:
    assert note_time(database, NOW + YEAR) is not None
    assert note_time(database, NOW + YEAR + 23 * HOUR, ran(23 * HOUR)) is not None
    jump = note_time(database, NOW + 2 * YEAR, ran(HOUR))
    assert jump is not None
    assert jump.run == 0


async def test_a_running_relay_doubts_a_step_before_it_looks_again(relay: RelayUnderTest) -> None:
    clock = relay.relay.context.clock
    assert not clock.is_doubted(now_ms())
    assert not clock.is_doubted(now_ms() + HOUR)
    assert clock.is_doubted(now_ms() + 6 * DAY)
    assert clock.is_doubted(now_ms() - 2 * HOUR)


def test_an_operator_can_confirm_the_clock(database: apsw.Connection) -> None:
    assert note_time(database, NOW + YEAR) is not None
    confirm_clock(database, NOW + YEAR)
    assert note_time(database, NOW + YEAR + HOUR) is None


async def test_the_entries_of_a_version_that_kept_no_time_give_it(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    await red.say(b"hello")
    await relay.stop()
    connection = schema.connect_writer(relay.database)
    connection.execute("DELETE FROM meta WHERE key = 'clock'")
    assert find_jump(connection, now_ms() + DAY) is None
    assert find_jump(connection, now_ms() + YEAR) is not None
    connection.close()
    await relay.start()


async def entries_at(relay: RelayUnderTest) -> int:
    return await relay.relay.reader.run(
        lambda connection: connection.execute("SELECT count(*) FROM segments").get
    )


async def test_nothing_is_pruned_by_a_clock_that_jumped_until_the_operator_confirms_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_relay(tmp_path, retention=RetentionPolicy(days=30)) as relay:
        (red,) = await relay.room_of("red")
        await red.say(b"of yesterday")
        await relay.restart()
        kept = await entries_at(relay)
        assert kept > 0
        for module in ("clave_server.relay.relay", "clave_server.rooms.retention_task"):
            monkeypatch.setattr(f"{module}.now_ms", lambda: now_ms() + YEAR)
        with capture_logs() as logs:
            await relay.restart()
        (doubt,) = [entry for entry in logs if entry["event"] == "clock doubted"]
        assert doubt["log_level"] == "warning"
        assert doubt["reason"].endswith("clave-relay prune --confirm-clock")
        await relay.relay.retention_task.look_at_clock()  # what a later pass does
        await relay.relay.retention_task._pass()
        handler = AdminHandler(relay.relay, relay.data_dir)
        for refused in (Prune(0, 0), Prune(1, 0)):
            with pytest.raises(AdminError, match=r"the clock says .* expects .*--confirm-clock"):
                await handler.handle(refused)
        assert await entries_at(relay) == kept
        deleted = await handler.handle(Prune(0, 0, confirm_clock=True))
        assert isinstance(deleted, Deleted)
        assert deleted.entries > 0
        with capture_logs() as logs:
            await relay.restart()
        assert not [entry for entry in logs if entry["event"] == "clock doubted"]


async def test_pruning_is_refused_after_a_step_that_no_hourly_look_has_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_relay(tmp_path, retention=RetentionPolicy(days=3)) as relay:
        (red,) = await relay.room_of("red")
        await red.say(b"of today")
        kept = await entries_at(relay)
        monkeypatch.setattr("clave_server.rooms.retention_task.now_ms", lambda: now_ms() + 6 * DAY)
        await relay.relay.retention_task._pass()
        with pytest.raises(AdminError, match="--confirm-clock"):
            await AdminHandler(relay.relay, relay.data_dir).handle(Prune(0, 0))
        await relay.relay.retention_task._pass()
        assert await entries_at(relay) == kept


async def test_the_clock_of_a_relay_that_keeps_everything_can_be_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_relay(tmp_path) as relay:
        (red,) = await relay.room_of("red")
        await red.say(b"for ever")
        kept = await entries_at(relay)
        monkeypatch.setattr("clave_server.rooms.retention_task.now_ms", lambda: now_ms() + YEAR)
        assert await relay.relay.retention_task.look_at_clock() is not None
        handler = AdminHandler(relay.relay, relay.data_dir)
        assert await handler.handle(Prune(0, 0, confirm_clock=True)) == Deleted(0, 0)
        assert await relay.relay.retention_task.look_at_clock() is None
        assert await entries_at(relay) == kept


def test_check_names_a_clock_that_jumped_and_prune_is_refused(data: Path) -> None:
    make_folder(data)
    connection = schema.connect_writer(data / "relay.db")
    note_time(connection, now_ms() - YEAR)
    result = run(data, "check", "--listen", "127.0.0.1:0")
    assert result.returncode == 0
    assert "warning  clock         the clock says 20" in result.stdout
    refused = run(data, "prune", "--retain-days", "300")
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: nothing was deleted, as the clock is doubted: the clock says 20")
    assert refused.stderr.endswith("if it is right, add --confirm-clock\n")
    assert find_jump(connection, now_ms()) is not None
    assert run(data, "prune", "--confirm-clock").stdout == "deleted: 0 entries, 0 B\n"
    assert find_jump(connection, now_ms()) is None
    connection.close()
    assert "ok  clock         20" in run(data, "check", "--listen", "127.0.0.1:0").stdout


def test_a_token_that_expired_is_refused_with_the_time_of_the_relay(database: apsw.Connection) -> None:
    digest = token_digest("x")
    make_token(database, digest, note="", made_at=0, expires_at=NOW, uses=1)
    with pytest.raises(Refusal, match=r"expired at 2029-12-17 00:00 UTC; .* clock says 2030-12-17 00:00 UTC"):
        spend_token(database, digest, NOW + YEAR)
    spend_token(database, digest, NOW - 1)
    with pytest.raises(Refusal, match="used up"):
        spend_token(database, digest, NOW - 1)
    with pytest.raises(Refusal, match="wrong, or was revoked"):
        spend_token(database, token_digest("y"), NOW - 1)
