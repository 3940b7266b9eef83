"""The types of proposals this library handles (RFC 9420, section 17.4). Knows no proposal."""

from __future__ import annotations

from clave_crypto.codec import Enum16

__all__ = ["DEFAULT_PROPOSAL_TYPES", "ProposalType"]


class ProposalType(Enum16):
    """MLS Proposal Types (section 17.4)."""

    ADD = 1
    UPDATE = 2
    REMOVE = 3
    PSK = 4
    REINIT = 5
    EXTERNAL_INIT = 6
    GROUP_CONTEXT_EXTENSIONS = 7
    SELF_REMOVE = 0x000A


DEFAULT_PROPOSAL_TYPES = frozenset(ProposalType) - {ProposalType.SELF_REMOVE}
"""Types that every client supports and none lists in its capabilities (section 7.2)."""
