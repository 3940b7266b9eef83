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
from clave_server.errors import Refusal
from clave_server.rooms.retention import RetentionPolicy
from clave_server.storage import schema
from clave_server.storage.run_clock import confirm_clock, find_jump, note_time
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
def test_a_clock_that_goes_on_is_believed(database: apsw.Connection, step: int) -> None:
    assert note_time(database, NOW + step) is None
    assert find_jump(database, NOW + step) is None


@pytest.mark.parametrize("step", [YEAR, 7 * DAY + 1, -2 * DAY, -NOW])
def test_a_clock_that_jumped_is_doubted_until_it_has_gone_on_for_a_day(
    database: apsw.Connection, step: int
) -> None:
    at = NOW + step
    for passed in (0, HOUR, DAY - 1):
        jump = note_time(database, at + passed)
        assert jump == (NOW, at + passed, at)
    assert note_time(database, at + DAY) is None
    assert note_time(database, at + DAY + HOUR) is None


def test_a_clock_that_is_set_right_is_believed_at_once(database: apsw.Connection) -> None:
    assert note_time(database, NOW + YEAR) is not None
    assert note_time(database, NOW + HOUR) is None
    assert note_time(database, NOW + YEAR) == (NOW + HOUR, NOW + YEAR, NOW + YEAR)


def test_a_clock_that_jumps_again_is_doubted_for_another_day(database: apsw.Connection) -> None:
    assert note_time(database, NOW + YEAR) is not None
    assert note_time(database, NOW + 2 * YEAR) == (NOW, NOW + 2 * YEAR, NOW + 2 * YEAR)


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


async def test_nothing_is_pruned_by_a_clock_that_jumped_until_the_operator_prunes(
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
        assert "clave-relay prune" in doubt["reason"]
        await relay.relay.retention_task._look_at_clock()  # what a later pass does
        await relay.relay.retention_task._pass()
        assert await entries_at(relay) == kept
        handler = AdminHandler(relay.relay, relay.data_dir)
        deleted = await handler.handle(Prune(0, 0))
        assert isinstance(deleted, Deleted)
        assert deleted.entries > 0
        with capture_logs() as logs:
            await relay.restart()
        assert not [entry for entry in logs if entry["event"] == "clock doubted"]


def test_check_names_a_clock_that_jumped(data: Path) -> None:
    make_folder(data)
    connection = schema.connect_writer(data / "relay.db")
    note_time(connection, now_ms() - YEAR)
    result = run(data, "check", "--listen", "127.0.0.1:0")
    assert result.returncode == 0
    assert "warning  clock         the clock says 20" in result.stdout
    assert run(data, "prune", "--retain-days", "300").returncode == 0
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
