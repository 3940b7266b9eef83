"""The owner of a profile: the process that holds its lock and serves the other programs.

Knows no window's commands; its own windows are attached like all others.
"""

from __future__ import annotations

from collections.abc import Callable

from clave_client.client import Client
from clave_client.rpc.server import RpcServer
from clave_client.store.folders import SOCKET_NAME
from clave_client.store.profile import Profile

__all__ = ["Owner"]


class Owner:
    """A profile that this process owns: its lock, its client and its socket.

    `make_client` returns the client of an open profile.
    """

    def __init__(self, profile: Profile, make_client: Callable[[Profile], Client]) -> None:
        self._profile = profile
        self._make_client = make_client
        self._client: Client | None = None
        self.server: RpcServer | None = None
        self.serving_failed = ""

    async def start(self) -> RpcServer:
        """Open and lock the profile, start its client, and serve.

        Raises `ProfileLocked` if another process holds it, and what opening and starting raise; a new
        profile whose name no relay knows is deleted then. A socket that cannot be made is no error:
        `serving_failed` says why, and other programs cannot attach.
        """
        self._profile.open()
        client = self._client = self._make_client(self._profile)
        try:
            await client.start()
        except BaseException:
            await self.stop()
            raise
        server = self.server = RpcServer(client)
        try:
            await server.listen(self._profile.folder / SOCKET_NAME)
        except OSError as error:
            self.serving_failed = error.strerror or str(error)
        return server

    async def stop(self) -> None:
        """Disconnect all windows and release the profile; the others hear goodbye with the last window."""
        server, self.server = self.server, None
        last = server is None or server.others == 0
        if server is not None:
            await server.close()
        client, self._client = self._client, None
        if client is not None:
            await client.close(goodbye=last)
            if client.never_registered:
                self._profile.discard()
        self._profile.close()
