"""Members on mls-rs, by its Python binding."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from interop.peer import EXPORT_LABEL, Commit, Kind, Library, Operation, Peer, Received

__all__ = ["MlsRs", "MlsRsPeer"]


class MlsRsPeer(Peer):
    """A client on mls-rs.

    The binding tells neither epoch nor members. It removes a member by an object that comes with that
    member's messages: one can be removed after a message whose data is its identity was received.
    """

    def __init__(self, identity: str) -> None:
        import mls_rs_uniffi

        self.library = mls_rs_uniffi
        self.identity = identity
        keys = self.library.generate_signature_keypair(self.library.CipherSuite.CURVE25519_AES128)
        self.client = self.library.Client(identity.encode(), keys, self.library.client_config_default())
        self.members: dict[bytes, Any] = {identity.encode(): self.client.signing_identity()}

    def key_package(self) -> bytes:
        return bytes(self.client.generate_key_package_message().to_bytes())

    def create(self) -> None:
        self.group = self.client.create_group(None)

    def join(self, welcome: bytes) -> None:
        self.group = self.client.join_group(None, self._decode(welcome)).group

    def add(self, *key_packages: bytes) -> Commit:
        return self._apply(self.group.add_members([self._decode(one) for one in key_packages]))

    def update(self) -> Commit:
        return self._apply(self.group.commit())

    def remove(self, identity: str) -> Commit:
        return self._apply(self.group.remove_members([self.members[identity.encode()]]))

    def commit(self) -> Commit:
        return self._apply(self.group.commit())

    def propose_add(self, key_package: bytes) -> bytes:
        return bytes(self.group.propose_add_members([self._decode(key_package)])[0].to_bytes())

    def propose_remove(self, identity: str) -> bytes:
        return bytes(self.group.propose_remove_members([self.members[identity.encode()]])[0].to_bytes())

    def send(self, data: bytes) -> bytes:
        return bytes(self.group.encrypt_application_message(data).to_bytes())

    def receive(self, message: bytes) -> Received:
        received = self.group.process_incoming_message(self._decode(message))
        if received.is_application_message():
            data = bytes(received.data)
            self.members[data] = received.sender
            return Received(Kind.APPLICATION, data)
        if received.is_received_proposal():
            return Received(Kind.PROPOSAL)
        assert received.is_commit()
        return Received(Kind.COMMIT, removed=received.effect.is_removed())

    def export(self) -> bytes:
        return bytes(self.group.export_secret(EXPORT_LABEL.encode(), b"", 32))

    def _decode(self, message: bytes) -> Any:
        return self.library.Message.from_bytes(message)

    def _apply(self, made: Any) -> Commit:
        message = bytes(made.commit_message.to_bytes())
        self.receive(message)
        return Commit(message, made.welcome_message and bytes(made.welcome_message.to_bytes()))


class MlsRs(Library):
    """mls-rs with OpenSSL; its binding has one cipher suite."""

    name = "mls-rs"
    suites = (0x0001,)
    operations = frozenset({Operation.PROPOSE_ADD, Operation.PROPOSE_REMOVE})

    def missing(self) -> str | None:
        if find_spec("mls_rs_uniffi") is None:
            return "mls-rs is not installed: pip install --group interop"
        return None

    def client(self, identity: str, suite: int, *, public_handshake: bool) -> MlsRsPeer:
        assert suite in self.suites
        assert not public_handshake
        return MlsRsPeer(identity)
