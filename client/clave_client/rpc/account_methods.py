"""The methods of the RPC about the account and the state of its profile: parameters and results."""

from __future__ import annotations

from clave_client.rpc.method_base import Method
from clave_client.rpc.values import AccountInfo, Health

__all__ = ["CheckHealth", "GetAccount"]


class GetAccount(Method[AccountInfo], frozen=True, kw_only=True):
    """Return who this is, with the devices that the relay knows; without a connection only this one."""

    NAME = "account.get"
    RESULT = AccountInfo


class CheckHealth(Method[Health], frozen=True, kw_only=True):
    """Connect to the relay once more, without a login, and return what of this profile's state matters."""

    NAME = "profile.check"
    RESULT = Health
