"""Members on @wireapp/core-crypto, by a Node.js process (`core_crypto_peer.mjs`) that has all of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from interop.json_lines import JsonLines
from interop.peer import Commit, Kind, Library, Operation, Peer, Received, State

__all__ = ["CoreCrypto", "CoreCryptoPeer"]

FOLDER = Path(__file__).parent
PACKAGE = FOLDER / "node_modules" / "@wireapp" / "core-crypto"

KINDS = {"Text": Kind.APPLICATION, "Proposal": Kind.PROPOSAL, "Commit": Kind.COMMIT}
"""What core-crypto calls the kinds of messages."""


class CoreCryptoPeer(Peer):
    """A client on core-crypto. It cannot send a proposal by itself."""

    def __init__(self, process: JsonLines, identity: str, suite: int) -> None:
        self.process = process
        self.identity = identity
        self._ask("init", identity=identity, suite=suite)

    def key_package(self) -> bytes:
        return bytes.fromhex(self._ask("keypackage")["key_package"])

    def create(self) -> None:
        self._ask("create", group=os.urandom(16).hex())

    def join(self, welcome: bytes) -> None:
        self._ask("join", welcome=welcome.hex())

    def external_join(self, group_info: bytes) -> Commit:
        return self._commit("external_join", group_info=group_info.hex())

    def add(self, *key_packages: bytes) -> Commit:
        return self._commit("add", key_packages=[one.hex() for one in key_packages])

    def update(self) -> Commit:
        return self._commit("update")

    def remove(self, identity: str) -> Commit:
        return self._commit("remove", identity=identity)

    def commit(self) -> Commit:
        return self._commit("commit")

    def send(self, data: bytes) -> bytes:
        return bytes.fromhex(self._ask("app", data=data.hex())["message"])

    def receive(self, message: bytes) -> Received:
        reply = self._ask("recv", message=message.hex())
        return Received(KINDS[reply["kind"]], bytes.fromhex(reply["data"] or ""), removed=not reply["active"])

    def export(self) -> bytes:
        return bytes.fromhex(self._ask("export", length=32)["secret"])

    def state(self) -> State:
        reply = self._ask("state")
        return State.of(reply["epoch"], reply["members"])

    def _ask(self, operation: str, **fields: object) -> dict[str, Any]:
        return self.process.ask(operation, client=self.identity, **fields)

    def _commit(self, operation: str, **fields: object) -> Commit:
        reply = self._ask(operation, **fields)
        welcome = reply["welcome"]
        return Commit(
            bytes.fromhex(reply["message"]),
            None if welcome is None else bytes.fromhex(welcome),
            bytes.fromhex(reply["group_info"]),
        )


class CoreCrypto(Library):
    """core-crypto, which is built on OpenMLS. It gives a GroupInfo only with a commit of its own."""

    name = "core-crypto"
    suites = (0x0001, 0x0002, 0x0003, 0x0005, 0x0007)
    operations = frozenset({Operation.COMMIT_JOIN, Operation.GROUP_INFO, Operation.EXTERNAL_JOIN})
    public_handshake = True

    def __init__(self) -> None:
        self.process = JsonLines("node", str(FOLDER / "core_crypto_peer.mjs"))

    def missing(self) -> str | None:
        if shutil.which("node") is None:
            return "core-crypto needs Node.js 20 or newer"
        if not PACKAGE.is_dir():
            return "core-crypto is not installed: make interop-peers"
        return None

    def client(self, identity: str, suite: int, *, public_handshake: bool) -> CoreCryptoPeer:
        assert public_handshake
        return CoreCryptoPeer(self.process, identity, suite)

    def close(self) -> None:
        self.process.close()
