"""What `clave-relay` does where its output, its locale, its user or its files are not as usual."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from commandkit import make_folder, run
from relaykit import RelayProcess

COMMANDS = [
    ("--help",),
    ("--version",),
    ("status",),
    ("status", "--json"),
    ("check", "--listen", "127.0.0.1:0"),
    ("account", "list"),
    ("token", "list"),
    ("ban",),
    ("certificate",),
    ("token", "make", "-h"),
    ("top", "--count", "1"),
]


def shell(line: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell, with `"$@"` for `clave-relay` and words."""
    command = ["sh", "-c", line, "sh", sys.executable, "-m", "clave_server", *words]
    return subprocess.run(
        command,
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
        encoding="utf-8",
        errors="backslashreplace",
    )


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
async def test_output_that_cannot_be_written_is_one_line_and_an_error(data: Path, redirection: str) -> None:
    async with RelayProcess(data):
        for words in COMMANDS:
            named = words if words[0].startswith("-") else (*words, "--data", str(data))
            result = shell(f'"$@" {redirection}', *named)
            (line,) = result.stderr.splitlines()
            assert line.startswith("Error: cannot write to standard output: "), words
            assert result.returncode == 1


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_a_token_that_could_not_be_shown_is_revoked(data: Path, redirection: str) -> None:
    make_folder(data)
    result = shell(f'"$@" {redirection}', "token", "make", "--data", str(data))
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: token 1 is revoked again, as it could not be shown: ")
    assert result.returncode == 1
    assert len(run(data, "token", "list").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "locale",
    [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1", "LC_ALL": "C"}],
    ids=str,
)
def test_no_locale_ends_a_command(data: Path, locale: dict[str, str], tmp_path: Path) -> None:
    make_folder(data)
    config = tmp_path / "gr\u00fcn\U0001f600.toml"
    config.write_text(f'data = "{data}"\nregistration = "token"\n', encoding="utf-8")
    note = "f\u00fcr den Chor \U0001f600"
    assert shell('"$@"', "token", "make", "--config", str(config), "--note", note, **locale).returncode == 0
    for words in (("token", "list"), ("ban", "192.0.2.1", "--note", note), ("ban",), ("check",)):
        result = shell('"$@"', *words, "--config", str(config), **locale)
        assert (result.returncode, result.stderr) == (0, ""), words


@pytest.mark.parametrize("words", [("check",), ("status",), ()])
def test_a_user_without_a_home_is_told_to_name_a_folder(words: tuple[str, ...]) -> None:
    script = (
        "import pwd; pwd.getpwuid = lambda _: {}[0];"  # as for a user that the system does not list
        f"from clave_server.cli.main import main; main({list(words)!r}, prog_name='clave-relay')"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_DATA_HOME")}
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment, cwd="/"
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "Error: this user has no home folder: name the data folder with --data\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", " \t\r\n", ""])
@pytest.mark.parametrize("begin", ["", "\ufeff", " "])
def test_files_of_any_editor_are_read(data: Path, tmp_path: Path, begin: str, end: str) -> None:
    token, config = tmp_path / "token", tmp_path / "relay.toml"
    token.write_bytes(f"{begin}secret{end}".encode())
    lines = ['listen = "127.0.0.1:0"', 'registration = "token"', f'registration-token-file = "{token}"']
    config.write_bytes((begin + "".join(line + (end or "\n") for line in lines)).encode())
    result = run(data, "check", "--config", config)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "token, 1 of use" in result.stdout


def test_a_defect_while_the_relay_starts_is_reported_in_its_folder(data: Path) -> None:
    script = (
        "from clave_server.relay import relay; relay.highest_ids = lambda _: [][0];"
        "from clave_server.cli.main import main;"
        f"main(['--listen', '127.0.0.1:0', '--data', {str(data)!r}], prog_name='clave-relay')"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    (report,) = data.glob("clave-relay-crash-*.txt")
    assert result.returncode == 70
    assert result.stderr == (
        "Error: a mistake in clave-relay (IndexError);"
        f" please pass on the report, which holds no secrets: {report}\n"
    )


CLOCK = """
import datetime, sys, time
SECONDS = {seconds}
class Then(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(SECONDS, tz)
datetime.datetime = Then
time.time, time.time_ns = lambda: float(SECONDS), lambda: SECONDS * 10**9
from clave_server.cli.main import main
main(prog_name="clave-relay")
"""


@pytest.mark.parametrize("seconds", [30, -1000, 2**37])
def test_commands_work_at_any_time(data: Path, tmp_path: Path, seconds: int) -> None:
    script = [sys.executable, "-c", CLOCK.format(seconds=seconds)]
    made = subprocess.run(
        [*script, "check", "--listen", "127.0.0.1:0", "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (made.returncode, made.stderr) == (0, "")
    make_folder(data)
    for words in (
        ("check", "--listen", "127.0.0.1:0"),
        ("token", "make"),
        ("token", "list"),
        ("ban", "192.0.2.1"),
        ("ban",),
        ("certificate", "next"),
        ("prune", "--retain-days", "30"),
        ("backup", str(tmp_path / "backup.tar")),
    ):
        result = subprocess.run(
            [*script, *words, "--data", str(data)], capture_output=True, text=True, timeout=30, check=False
        )
        assert result.returncode == 0, (words, result.stderr)
        assert "mistake" not in result.stderr
