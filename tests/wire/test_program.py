"""How a command ends: output that cannot be written, locales that cannot write it, defects."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from clave_host.crash_report import write_crash_report

RUN = "import sys; from clave_host.program import run_program; from pathlib import Path\n"


def run(
    body: str, redirections: str = "", folders: str = "[]", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a program, as `command`, whose body is `body`."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    script = f"{RUN}def command():\n{lines}run_program('prog', command, {folders})\n"
    shell = ["sh", "-c", f'"$0" -c "$1" {redirections}', sys.executable, script]
    return subprocess.run(
        shell, capture_output=True, timeout=30, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize(
    ("redirections", "reason"),
    [(">/dev/full", b"No space left on device"), (">&-", b"it is closed"), (">&- <&-", b"it is closed")],
)
def test_output_that_cannot_be_written_is_an_error_of_one_line(redirections: str, reason: bytes) -> None:
    result = run("print('hello')", redirections)
    assert result.returncode == 1
    assert result.stderr == b"Error: cannot write to standard output: " + reason + b"\n"


def test_a_pipe_that_is_closed_ends_it_silently() -> None:
    result = run("for _ in range(10000): print('x' * 1000)", "| true")
    assert result.stderr == b""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_pauses_costs_no_processor_time(stream: str) -> None:
    body = (
        f"import os, time\nos.set_blocking({1 if stream == 'stdout' else 2}, False)\n"
        f"print('x' * 300_000, file=sys.{stream})\nsys.{stream}.flush()\n"
        "used = time.process_time()\nopen(os.environ['USED'], 'w').write(str(used))"
    )
    redirections = "| (sleep 1.5; cat)" if stream == "stdout" else "2>&1 >/dev/null | (sleep 1.5; cat)"
    with tempfile.NamedTemporaryFile("r") as used:
        result = run(body, redirections, USED=used.name)
        assert len(result.stdout) == 300_001
        assert float(used.read()) < 1.0


@pytest.mark.parametrize("redirections", ["2>&-", "2>/dev/full", ">&- 2>&- <&-"])
def test_complaints_that_cannot_be_written_change_nothing(redirections: str) -> None:
    result = run("print('no', file=sys.stderr)\nsys.exit(3)", redirections)
    assert result.returncode == 3


def test_no_file_gets_the_number_of_a_stream_that_is_closed() -> None:
    result = run("print(open('/dev/null').fileno(), file=sys.stderr)\nsys.exit(0)", ">&- <&-")
    assert int(result.stderr) > 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_text_that_the_locale_cannot_write_is_escaped(encoding: str) -> None:
    result = run("print('gr\\u00fcn \\U0001f600')", PYTHONIOENCODING=encoding)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == "gr\u00fcn \U0001f600\n".encode(encoding, "backslashreplace")


@pytest.mark.parametrize(
    ("body", "status"), [("sys.exit(4)", 4), ("pass", 0), ("raise KeyboardInterrupt", 130)]
)
def test_a_command_ends_with_its_status(body: str, status: int) -> None:
    assert run(body).returncode == status


def test_a_defect_is_reported_to_a_file_without_what_was_handled(tmp_path: Path) -> None:
    body = "secret = 'hunter2'[:]\ntry: int(secret)\nexcept ValueError as error: raise OSError(5, secret)"
    result = run(body, folders=f"[Path('/nonexistent'), Path({str(tmp_path)!r})]")
    assert result.returncode == 70
    (report,) = tmp_path.iterdir()
    assert result.stderr.decode() == (
        f"Error: a mistake in prog (OSError); please pass on the report, which holds no secrets: {report}\n"
    )
    text = report.read_text()
    assert report.stat().st_mode & 0o777 == 0o600
    assert "builtins.OSError, error 5" in text
    assert "builtins.ValueError" in text
    assert "in command" in text
    assert "hunter2" not in text + result.stderr.decode()


def test_a_report_goes_to_the_temporary_folder_if_no_other_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = write_crash_report("prog", ExceptionGroup("two", [ValueError("x"), KeyError("y")]), [])
    assert path is not None
    assert path.parent == tmp_path
    assert "KeyError" in path.read_text()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert write_crash_report("prog", ValueError("x"), []) is None


def test_a_report_that_no_folder_takes_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def find_none() -> str:
        raise FileNotFoundError(2, "no usable temporary folder")

    monkeypatch.setattr("tempfile.gettempdir", find_none)
    assert write_crash_report("prog", ValueError("x"), [tmp_path / "none"]) is None
    path = write_crash_report("prog", ValueError("x"), [tmp_path])
    assert path is not None
    assert path.parent == tmp_path, "which was tried first"


def test_nothing_is_left_of_a_report_that_a_full_disk_does_not_take(tmp_path: Path) -> None:
    body = (
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n1 / 0"
    )
    result = run(body, folders=f"[Path({str(tmp_path)!r})]", TMPDIR=str(tmp_path))
    assert result.returncode == 70
    assert result.stderr.endswith(b"(ZeroDivisionError), and a report of it could not be written\n")
    assert not list(tmp_path.iterdir())
