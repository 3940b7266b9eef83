"""The client: profile store, session, line mode and the library they stand on."""

from clave_client.client import Client
from clave_client.errors import ClientError
from clave_client.people.known_keys import Fingerprint
from clave_client.rooms.room_info import RoomInfo
from clave_client.store.profile import Profile, default_home

__all__ = ["Client", "ClientError", "Fingerprint", "Profile", "RoomInfo", "default_home"]
