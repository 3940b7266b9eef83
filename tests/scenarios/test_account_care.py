"""Stories of looking after an account: its passphrase, backups, and what is restored from them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from clave_client import events
from clave_client.cli.exit_status import EXIT_STATUSES
from clave_client.errors import KeyMismatch
from scenarios.stage import people_at, relay_at
from scenarios.terminal import terminal
from scenarios.test_bad_input import chat, clave, run_program


def crash_reports(folder: Path) -> list[Path]:
    return list(folder.glob("clave-crash-*.txt"))


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
        late = await chat("red", relay, home, "--passphrase", given="exit\n")
        assert late.line == "the profile red has no passphrase; set one with: clave passphrase set"
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


async def test_a_backup_is_taken_beside_an_open_window_and_restored_elsewhere(tmp_path: Path) -> None:
    home, other, secret, file = (tmp_path / name for name in ("home", "other", "secret", "red.clave"))
    secret.write_text("of the backup\n")
    backup_secret = ("--backup-passphrase-file", str(secret))
    async with relay_at(tmp_path / "relay") as relay:
        await chat("blue", relay, home, given="exit\n")
        await chat("red", relay, home, given="/new friends\n/invite blue\nexit\n")
        await chat("blue", relay, home, given="/accept\nexit\n")
        async with people_at(relay, home, "red") as (red,):
            made = await clave("backup", "--name", "red", str(file), *backup_secret, home=home)
            assert (made.status, made.err) == (0, "")
            await red.client.send(red.client.find_room("friends"), "after the backup")
        again = await clave("backup", "--name", "red", str(file), *backup_secret, home=home)
        assert (again.status, "exists" in again.line) == (2, True)
        assert b"friends" not in file.read_bytes()
        (tmp_path / "wrong").write_text("wrong\n")
        wrong = ("--backup-passphrase-file", str(tmp_path / "wrong"))
        refused = await clave("restore", str(file), *wrong, home=other)
        assert (refused.status, refused.line) == (3, "that passphrase is wrong")
        assert list(other.iterdir()) == [other / "profiles"], "nothing is left of it"
        restored = await clave("restore", str(file), *backup_secret, home=other)
        assert (restored.status, restored.err) == (0, "")
        assert restored.out.startswith("restored red, rooms: friends\n")
        again = await clave("restore", str(file), *backup_secret, home=other)
        assert (again.status, "there is a profile red here already" in again.line) == (2, True)
        looked = await clave("doctor", "--name", "red", home=other)
        assert "warning  rooms        friends waits to be rejoined after a restore" in looked.out
        assert looked.status == 0
        async with people_at(relay, home, "blue") as (blue,):
            sent = await clave("send", "--name", "red", "friends", "hello from the new machine", home=other)
            assert (sent.status, sent.err) == (0, "")
            await blue.reads("hello from the new machine")
            assert any("was restored from a backup" in str(event) for event in blue.happened)


async def test_the_doctor_finds_what_is_wrong(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        await chat("red", relay, home, given="/new friends\nexit\n")
        well = await clave("doctor", home=home)
        assert well.status == 0, well.out
        assert {line.split()[1] for line in well.out.splitlines()} >= {
            *("permissions", "key", "disk", "locale", "terminal", "profile"),
            *("relay", "certificate", "clock", "key", "rooms"),
        }
        found = [json.loads(line) for line in (await clave("doctor", "--json", home=home)).out.splitlines()]
        assert {tuple(one) for one in found} == {("verdict", "subject", "text")}
        assert all(one["verdict"] == "ok" for one in found if one["subject"] != "locale"), found
        narrow = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        assert "warning  locale" in (await clave("doctor", home=home, environment=narrow)).out
    away = await clave("doctor", home=home)
    assert (away.status, "error    relay" in away.out, "is it running?" in away.out) == (1, True, True)
    (home / "profiles/red").chmod(0o755)
    exposed = await clave("doctor", home=home)
    assert (exposed.status, "run: chmod 700" in exposed.out) == (1, True)
    (home / "profiles/red").chmod(0o700)
    (home / "profiles/red/store.db").write_bytes(b"x" * 4096)
    damaged = await clave("doctor", home=home)
    assert (damaged.status, "error    profile" in damaged.out) == (1, True)
    assert "Traceback" not in damaged.out + damaged.err


async def test_an_account_is_shown(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        await chat("red", relay, home, "--device", "laptop", given="exit\n")
        shown = await clave("account", home=home)
        words = dict(line.split(maxsplit=1) for line in shown.out.splitlines()[:4])
        assert (words["name"], words["device"], words["relay"]) == (
            "red",
            "laptop (this one, primary)",
            relay.address,
        )
        told = json.loads((await clave("account", "--json", home=home)).out)
        assert told["fingerprint"] == words["fingerprint"]
        assert [device["name"] for device in told["devices"]] == ["laptop"]
    assert "away: its devices are not known" in (await clave("account", home=home)).out


async def test_an_account_is_deleted_with_its_name_and_its_profile(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        await chat("blue", relay, home, given="exit\n")
        await chat("red", relay, home, given="/new friends\n/invite blue\nexit\n")
        await chat("blue", relay, home, given="/accept\nexit\n")
        misplaced = await clave("account", "--name", "red", "delete", "--yes", home=home)
        assert misplaced.status == 2
        assert "--name goes after the command: clave account delete --name" in misplaced.err
        unasked = await clave("account", "delete", "--name", "red", home=home)
        assert (unasked.status, "nobody is here to confirm it; give --yes" in unasked.line) == (2, True)
        async with terminal(
            "-m", "clave_client", "account", "delete", "--name", "red", CLAVE_HOME=str(home)
        ) as asked:
            await asked.shows("type red to go on:")
            asked.press("blue\r")
            await asked.shows("that is not the name; nothing was deleted")
        async with people_at(relay, home, "red"):
            held = await clave("account", "delete", "--yes", "--name", "red", home=home)
            assert held.status != 0
        async with people_at(relay, home, "blue") as (blue,):
            room = blue.client.find_room("friends")
            deleted = await clave("account", "delete", "--yes", "--name", "red", home=home)
            assert (deleted.status, deleted.err) == (0, "")
            assert deleted.out == "the account red is deleted\n"
            assert not (home / "profiles/red").exists()
            await blue.sees(events.MemberLeft, lambda left: left.person.name == "red")
            async with people_at(relay, tmp_path / "other", "red") as (newcomer,):
                with pytest.raises(KeyMismatch, match="two keys go by red"):
                    await blue.client.invite(room, "red")
                assert not newcomer.client.rooms
        shown = [line for line in relay.log if "account deleted" in line]
        assert len(shown) == 1
    async with relay_at(tmp_path / "another") as relay:
        await chat("green", relay, home, given="exit\n")
    away = await clave("account", "delete", "--yes", "--name", "green", home=home)
    assert (away.status, "nothing was deleted" in away.line) == (4, True)
    erased = await clave("account", "delete", "--yes", "--here-only", "--name", "green", home=home)
    assert (erased.status, (home / "profiles/green").exists()) == (0, False)


async def test_a_mistake_in_clave_is_one_line_and_a_report_without_secrets(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        await chat("red", relay, home, given="exit\n")
    script = (
        "import sys; from clave_client.ui import reports\n"
        "async def broken(*_, **__): raise KeyError('a secret word')\n"
        "reports.print_rooms = broken\n"
        "sys.argv = ['clave', 'rooms']\n"
        "from clave_client.cli import main; main(prog_name='clave')\n"
    )
    ran = await run_program(sys.executable, "-c", script, CLAVE_HOME=str(home))
    (report,) = crash_reports(home / "profiles/red")
    assert (ran.status, str(report) in ran.line) == (70, True)
    assert ran.line.startswith("a mistake in clave (KeyError);")
    written = report.read_text()
    assert "builtins.KeyError" in written
    assert "secret word" not in written
    assert report.stat().st_mode & 0o077 == 0


async def test_what_fails_in_the_background_is_told_once_and_without_a_traceback(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys, threading; from clave_client.ui import demo\n"
        "def fail(): raise ValueError('a secret word')\n"
        "async def broken():\n"
        "    asyncio.get_running_loop().call_soon(fail)\n"
        "    thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        "    await asyncio.sleep(0)\n"
        "demo.run_demo = broken\n"
        "sys.argv = ['clave', 'demo']\n"
        "from clave_client.cli import main; main(prog_name='clave')\n"
    )
    ran = await run_program(sys.executable, "-c", script, TMPDIR=str(tmp_path))
    assert ran.status == 0
    assert ran.line.startswith("a mistake in clave (ValueError);")
    assert len(crash_reports(tmp_path)) == 1


@pytest.mark.parametrize("words", [["--help"], ["demo", "--help"], ["rooms"]])
async def test_output_that_cannot_be_written_is_one_line(tmp_path: Path, words: list[str]) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        await chat("red", relay, home, given="/new friends\nexit\n")
    for redirection in (">/dev/full", ">&-"):
        command = f'exec "$0" -m clave_client {" ".join(words)} {redirection}'
        ran = await run_program("sh", "-c", command, sys.executable, CLAVE_HOME=str(home))
        assert ran.status == 1 or (words == ["rooms"] and redirection == ">&-")
        assert len(ran.err.splitlines()) <= 1
        assert "Traceback" not in ran.err
