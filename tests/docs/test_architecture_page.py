"""Every path and every class, method and function that docs/architecture.md names exists in the source."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = [
    ROOT / name
    for name in (
        "crypto/clave_crypto",
        "wire/clave_wire",
        "wire/clave_host",
        "server/clave_server",
        "client/clave_client",
    )
]

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?")
_PATH = re.compile(r"[\w./-]+(/|\.py|\.md|\.toml)")
_COMMANDS = {"clave", "lint-imports"}


def quoted() -> list[str]:
    """Return what the page has in backticks, without the chat commands and the programs."""
    found = set(re.findall(r"`([^`\n]+)`", PAGE.read_text(encoding="utf-8")))
    return sorted(text for text in found - _COMMANDS if not text.startswith("/"))


def drawn() -> list[str]:
    """Return the folders and files in the page's pictures."""
    lines = re.findall(r"^    .+$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return sorted(set(re.findall(r"(?<!\S)[\w/]+(?:/|\.py)(?=[\s,]|$)", "\n".join(lines))))


def paths() -> list[str]:
    return sorted({text for text in (*quoted(), *drawn()) if _PATH.fullmatch(text)})


def names() -> list[str]:
    return [text for text in quoted() if not _PATH.fullmatch(text)]


def is_path(text: str) -> bool:
    """Return whether a path exists, relative to the repository, a source root or a package."""
    bases = [ROOT, ROOT / "tests", *(package.parent for package in PACKAGES), *PACKAGES]
    return any((base / text).exists() for base in bases)


class Source:
    """The definitions of all packages: module members, and classes with their members and bases, by name."""

    def __init__(self) -> None:
        self.modules: dict[str, set[str]] = defaultdict(set)
        self.classes: dict[str, set[str]] = defaultdict(set)
        self.bases: dict[str, set[str]] = defaultdict(set)
        for package in PACKAGES:
            for path in package.rglob("*.py"):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                self.modules[path.parent.name if path.stem == "__init__" else path.stem] |= set(
                    _defined(tree)
                )
                for node in ast.walk(tree):
                    if isinstance(node, ast.ClassDef):
                        self.classes[node.name] |= set(_defined(node))
                        self.bases[node.name] |= {
                            base.id for base in node.bases if isinstance(base, ast.Name)
                        }
            self.modules[package.name] |= {folder.name for folder in package.iterdir() if folder.is_dir()}

    def has(self, name: str) -> bool:
        """Return whether `name` is a definition, `Class.member` or `module.member`."""
        owner, _, member = name.partition(".")
        if not member:
            return owner in self.modules or any(owner in each for each in self._scopes())
        return member in self.modules.get(owner, ()) or self._has_member(owner, member)

    def _scopes(self) -> Iterator[set[str]]:
        yield from self.modules.values()
        yield from self.classes.values()

    def _has_member(self, owner: str, member: str) -> bool:
        return member in self.classes.get(owner, ()) or any(
            self._has_member(base, member) for base in self.bases.get(owner, ())
        )


def _defined(scope: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Yield the names that a module or a class defines in its own body."""
    for node in scope.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


@cache
def source() -> Source:
    return Source()


def test_the_page_names_paths_and_definitions() -> None:
    assert len(paths()) > 50
    assert len(names()) > 40
    assert {"server/clave_server/", "storage/db_thread.py", "sync/", "events.py"} <= set(paths())


@pytest.mark.parametrize("path", paths())
def test_every_path_named_exists(path: str) -> None:
    assert is_path(path), f"{PAGE.name} names {path}, which is neither a file nor a folder"


@pytest.mark.parametrize("name", names())
def test_every_class_method_and_function_named_exists(name: str) -> None:
    assert _NAME.fullmatch(name), f"{PAGE.name} quotes {name}, which is no name"
    assert source().has(name), f"{PAGE.name} names {name}, which no module defines"


@pytest.mark.parametrize(
    "name", ["Sequencer.publish", "invitations.invent", "Sequencer.Publisher", "NoSuchName"]
)
def test_a_name_that_does_not_exist_is_noticed(name: str) -> None:
    assert not source().has(name)


@pytest.mark.parametrize("path", ["storage/no_such_file.py", "no_such_folder/", "clave_server/frobnicate.py"])
def test_a_path_that_does_not_exist_is_noticed(path: str) -> None:
    assert not is_path(path)
