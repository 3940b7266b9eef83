"""Messaging Layer Security (RFC 9420): groups whose members share secrets that nobody else has.

Start at `Group`. Errors are listed with their meaning in `clave_crypto.mls.errors`.
"""

from clave_crypto.mls.credentials import BasicCredential, Credential, X509Credential
from clave_crypto.mls.epoch import FindPsk, Member
from clave_crypto.mls.errors import (
    CommitRequiredError,
    DecryptionError,
    GroupClosedError,
    LocalError,
    MalformedError,
    MLSError,
    OwnMessageError,
    PeerError,
    PolicyRejected,
    ReplayError,
    StalePendingError,
    StateError,
    TooFarAheadError,
    UnsupportedError,
    ValidationError,
    WrongEpochError,
    WrongGroupError,
)
from clave_crypto.mls.events import Application, Committed, ProposalReceived, Received
from clave_crypto.mls.extensions import Extension, ExtensionType, RequiredCapabilities, find_extension
from clave_crypto.mls.framing import decode_key_package, encode_message, peek
from clave_crypto.mls.group import Group
from clave_crypto.mls.joining import FindBundle
from clave_crypto.mls.key_package import KeyPackage, KeyPackageBundle, RandomBytes, VerifiedKeyPackage
from clave_crypto.mls.leaf_node import Capabilities, LeafNode
from clave_crypto.mls.padding import Padding, pad_to_bucket
from clave_crypto.mls.pending import PendingCommit
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposals import (
    Add,
    ContentType,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    Remove,
    Update,
)
from clave_crypto.mls.psk import ExternalPsk, PreSharedKeyID, ResumptionPsk, ResumptionUsage
from clave_crypto.mls.state import GroupState
from clave_crypto.mls.suites import (
    SUITES,
    CipherSuite,
    MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
    find_suite,
)

__all__ = [
    "SUITES",
    "Add",
    "Application",
    "BasicCredential",
    "Capabilities",
    "CipherSuite",
    "CommitRequiredError",
    "Committed",
    "ContentType",
    "Credential",
    "DecryptionError",
    "Extension",
    "ExtensionType",
    "ExternalPsk",
    "FindBundle",
    "FindPsk",
    "Group",
    "GroupClosedError",
    "GroupContextExtensions",
    "GroupState",
    "KeyPackage",
    "KeyPackageBundle",
    "LeafNode",
    "LocalError",
    "MLSError",
    "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
    "MalformedError",
    "Member",
    "OwnMessageError",
    "Padding",
    "PeerError",
    "PendingCommit",
    "Policy",
    "PolicyRejected",
    "PreSharedKey",
    "PreSharedKeyID",
    "Proposal",
    "ProposalReceived",
    "RandomBytes",
    "Received",
    "Remove",
    "ReplayError",
    "RequiredCapabilities",
    "ResumptionPsk",
    "ResumptionUsage",
    "StalePendingError",
    "StateError",
    "TooFarAheadError",
    "UnsupportedError",
    "Update",
    "ValidationError",
    "VerifiedKeyPackage",
    "WrongEpochError",
    "WrongGroupError",
    "X509Credential",
    "decode_key_package",
    "encode_message",
    "find_extension",
    "find_suite",
    "pad_to_bucket",
    "peek",
]
