"""Stories of looking after an account: its passphrase, backups, and what is restored from them."""

from __future__ import annotations

from pathlib import Path

from clave_client.cli.exit_status import EXIT_STATUSES
from scenarios.stage import relay_at
from scenarios.terminal import terminal
from scenarios.test_bad_input import chat, clave


async def test_a_passphrase_is_asked_twice_when_set_and_three_times_when_opening(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path) as relay:
        await chat("red", relay, home, given="/new friends\nexit\n")
        async with terminal("-m", "clave_client", "passphrase", "set", CLAVE_HOME=str(home)) as setting:
            await setting.shows("new passphrase:")
            setting.press("correct horse\r")
            await setting.shows("once more:")
            setting.press("other horse\r")
            await setting.until(lambda: setting.text.count("new passphrase:") == 2)
            setting.press("correct horse\r")
            await setting.until(lambda: setting.text.count("once more:") == 2)
            setting.press("correct horse\r")
            await setting.shows("the passphrase is set")
            assert "horse" not in setting.text
            assert await setting.ended() == 0
        async with terminal("-m", "clave_client", "rooms", CLAVE_HOME=str(home)) as listing:
            for time in range(1, 4):
                await listing.until(lambda time=time: listing.text.count("passphrase:") == time)  # type: ignore[misc]  # mypy takes no lambda with a default
                listing.press(("wrong" if time < 3 else "correct horse") + "\r")
            await listing.shows("friends")
            assert await listing.ended() == 0
        async with terminal("-m", "clave_client", "rooms", CLAVE_HOME=str(home)) as listing:
            for time in range(1, 4):
                await listing.until(lambda time=time: listing.text.count("passphrase:") == time)  # type: ignore[misc]  # the same
                listing.press("wrong\r")
            await listing.shows("that passphrase is wrong")
            assert await listing.ended() in EXIT_STATUSES
            assert "Traceback" not in listing.text


async def test_a_passphrase_is_changed_and_removed_from_files(tmp_path: Path) -> None:
    home, first, second = tmp_path / "home", tmp_path / "first", tmp_path / "second"
    first.write_text("first\n")
    second.write_text("second\n")
    async with relay_at(tmp_path) as relay:
        await chat("red", relay, home, given="/new friends\nexit\n")
        refused = await clave("passphrase", "change", home=home)
        assert (refused.status, "clave passphrase set" in refused.err) == (2, True)
        assert (await clave("passphrase", "set", home=home)).line.endswith("give --new-passphrase-file FILE")
        done = await clave("passphrase", "set", "--new-passphrase-file", str(first), home=home)
        assert (done.status, done.err) == (0, "")
        refused = await clave("passphrase", "set", "--new-passphrase-file", str(first), home=home)
        assert (refused.status, "clave passphrase change" in refused.err) == (2, True)
        changed = (
            "passphrase",
            "change",
            "--passphrase-file",
            str(first),
            "--new-passphrase-file",
            str(second),
        )
        assert (await clave(*changed, home=home)).status == 0
        again = await clave(*changed, home=home)
        assert (again.status, again.line) == (3, "that passphrase is wrong")
        assert (await clave("rooms", "--passphrase-file", str(second), home=home)).out.startswith("friends")
        assert (await clave("passphrase", "remove", "--passphrase-file", str(second), home=home)).status == 0
        assert (await clave("rooms", home=home)).out.startswith("friends")
