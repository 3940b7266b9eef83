"""What docs/operations.md and contrib/ name is there: commands, options, metrics, files."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from clave_server.admin.gauges import Gauges
from clave_server.admin.metrics import Metrics
from clave_server.cli.main import main
from clave_server.cli.options import VARIABLES
from clave_server.cli.parsers import read_config
from clave_server.observe.counters import Counters

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
_COMMAND = re.compile(r"(?:^    (?:runuser.*? -- )?|`)(clave-relay(?: [^`\n]*)?)", re.MULTILINE)
_IGNORED = {"--version", "--help"}


def commands() -> list[str]:
    found = [line.partition("  #")[0].partition(" > ")[0].strip() for line in _COMMAND.findall(PAGE)]
    assert len(found) > 20
    return sorted(set(found))


def options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("line", commands())
def test_commands_and_their_options_are_there(line: str) -> None:
    words = shlex.split(line.replace("$(date +%F)", "today"))[1:]
    command: click.Command = main
    while words and isinstance(command, click.Group) and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    used = [word for word in words if word.startswith("--")]
    assert set(used) <= options_of(command) | _IGNORED
    if words and words[0] not in used:
        assert any(isinstance(parameter, click.Argument) for parameter in command.params), words


def test_every_option_named_is_one() -> None:
    known = options_of(main) | _IGNORED
    for name, command in main.commands.items():
        known |= options_of(command)
        if isinstance(command, click.Group):
            known |= {option for inner in command.commands.values() for option in options_of(inner)}
        assert name in PAGE
    others = {"--constraint", "--now", "--detach", "--name", "--pin", "--relay", "--token-file"}
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) <= known | others


def test_every_metric_named_is_told() -> None:
    counters = Counters()
    counters.connections_refused["full"] = 1
    gauges = Gauges(1, 2, 3, 4, 5, 6, 7, 8, 9, storage_works=True)
    told = Metrics(counters, lambda: gauges, lambda: (1, 2)).render().decode()
    named = set(re.findall(r"\bclave_[a-z_]+", PAGE))
    assert len(named) >= 4
    for name in named:
        assert re.search(rf"^{name}[ {{]", told, re.MULTILINE), name


def test_every_file_named_is_there() -> None:
    for name in re.findall(r"contrib/[\w./-]*\w", PAGE):
        assert (ROOT / name).exists(), name


def test_the_example_configuration_is_one() -> None:
    settings = read_config(
        ROOT / "contrib" / "clave-relay.toml", {key.strip("-") for key in options_of(main)}
    )
    assert set(settings) == {"data", "registration", "mirror", "metrics"}


def test_the_variables_of_contrib_mean_something() -> None:
    files = [path.read_text() for path in (ROOT / "contrib").rglob("*") if path.is_file()]
    named = set(re.findall(r"\bCLAVE_RELAY_[A-Z_]+", "".join(files) + PAGE))
    assert named
    assert named <= VARIABLES


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs HAProxy")
def test_the_proxys_configuration_is_one() -> None:
    file = ROOT / "contrib" / "proxy" / "haproxy.cfg"
    checked = subprocess.run(["haproxy", "-c", "-f", file], capture_output=True, text=True, timeout=30)  # noqa: S607  (the system's)
    assert checked.returncode == 0, checked.stderr
