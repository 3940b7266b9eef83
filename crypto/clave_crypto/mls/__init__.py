"""Messaging Layer Security (RFC 9420): groups whose members share secrets that nobody else has.

Start at `Group`. Errors are listed with their meaning in `clave_crypto.mls.errors`.
"""

from clave_crypto.keys import Secret
from clave_crypto.mls.credentials import BasicCredential, Credential, X509Credential
from clave_crypto.mls.epoch import FindPsk, Member
from clave_crypto.mls.errors import (
    CommitRequiredError,
    DecryptionError,
    GroupClosedError,
    LimitError,
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
from clave_crypto.mls.events import (
    Application,
    CommitFate,
    CommitPreview,
    Committed,
    ProposalReceived,
    Received,
)
from clave_crypto.mls.extensions import (
    Extension,
    ExtensionType,
    ExternalSender,
    ExternalSenders,
    RequiredCapabilities,
    find_extension,
)
from clave_crypto.mls.framing import authenticated_data, decode_key_package, encode_message, peek
from clave_crypto.mls.grease import DEFAULT_GREASE, Grease
from clave_crypto.mls.group import Group
from clave_crypto.mls.group_view import GroupView
from clave_crypto.mls.joining import FindBundle
from clave_crypto.mls.key_package import KeyPackage, KeyPackageBundle, RandomBytes, VerifiedKeyPackage
from clave_crypto.mls.leaf_node import Capabilities, KeyPackageSource, LeafNode
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.measuring import MessageSize
from clave_crypto.mls.outside import (
    VerifiedGroupInfo,
    decode_group_info,
    propose_externally,
    propose_join,
    verify_group_info_message,
)
from clave_crypto.mls.padding import Padding, pad_to_bucket
from clave_crypto.mls.pending import PendingCommit
from clave_crypto.mls.policy import NoPolicy, Policy
from clave_crypto.mls.proposals import (
    Add,
    ContentType,
    CustomProposal,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    ReInit,
    Remove,
    SelfRemove,
    Update,
)
from clave_crypto.mls.psk import ExternalPsk, PreSharedKeyID, ResumptionPsk, ResumptionUsage, new_psk_id
from clave_crypto.mls.reading_stored import check_readable
from clave_crypto.mls.senders import (
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
    Sender,
)
from clave_crypto.mls.spread import Spread
from clave_crypto.mls.state import GroupState, StateChange
from clave_crypto.mls.suites import (
    SUITES,
    CipherSuite,
    MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
    MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519,
    find_suite,
    set_mlkem768_suite_id,
)
from clave_crypto.mls.welcome import GroupInfo
from clave_crypto.mls.x509 import certificate_chain, check_chain

__all__ = [
    "DEFAULT_GREASE",
    "SUITES",
    "Add",
    "Application",
    "BasicCredential",
    "Capabilities",
    "CipherSuite",
    "CommitFate",
    "CommitPreview",
    "CommitRequiredError",
    "Committed",
    "ContentType",
    "Credential",
    "CustomProposal",
    "DecryptionError",
    "Extension",
    "ExtensionType",
    "ExternalInit",
    "ExternalPsk",
    "ExternalSender",
    "ExternalSenderIndex",
    "ExternalSenders",
    "FindBundle",
    "FindPsk",
    "Grease",
    "Group",
    "GroupClosedError",
    "GroupContextExtensions",
    "GroupInfo",
    "GroupState",
    "GroupView",
    "KeyPackage",
    "KeyPackageBundle",
    "KeyPackageSource",
    "LeafNode",
    "LimitError",
    "Limits",
    "LocalError",
    "MLSError",
    "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
    "MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519",
    "MalformedError",
    "Member",
    "MemberSender",
    "MessageSize",
    "NewMemberCommitSender",
    "NewMemberProposalSender",
    "NoPolicy",
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
    "ReInit",
    "Received",
    "Remove",
    "ReplayError",
    "RequiredCapabilities",
    "ResumptionPsk",
    "ResumptionUsage",
    "Secret",
    "SelfRemove",
    "Sender",
    "Spread",
    "StalePendingError",
    "StateChange",
    "StateError",
    "TooFarAheadError",
    "UnsupportedError",
    "Update",
    "ValidationError",
    "VerifiedGroupInfo",
    "VerifiedKeyPackage",
    "WrongEpochError",
    "WrongGroupError",
    "X509Credential",
    "authenticated_data",
    "certificate_chain",
    "check_chain",
    "check_readable",
    "decode_group_info",
    "decode_key_package",
    "encode_message",
    "find_extension",
    "find_suite",
    "new_psk_id",
    "pad_to_bucket",
    "peek",
    "propose_externally",
    "propose_join",
    "set_mlkem768_suite_id",
    "verify_group_info_message",
]
