"""How large an encrypted message is, without encrypting one. Uses up no keys, knows no content.

The message is signed and sealed by the code that sends, with keys made on the spot: sizes do not depend on
keys, but for those of ECDSA signatures, which vary by some bytes.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from clave_crypto.keys import Secret
from clave_crypto.mls.framing import (
    ApplicationData,
    AuthData,
    FramedContent,
    PrivateMessageContent,
    encode_message,
)
from clave_crypto.mls.padding import Padding
from clave_crypto.mls.protection import seal_content
from clave_crypto.mls.secret_tree import FoundKey
from clave_crypto.mls.senders import MemberSender
from clave_crypto.mls.suites import CipherSuite

__all__ = ["MessageSize", "measure_message"]


class MessageSize(NamedTuple):
    """Sizes in bytes: of what is encrypted before padding and with it, and of the whole MLSMessage."""

    content: int
    padded: int
    message: int


def measure_message(
    suite: CipherSuite, group_id: bytes, epoch: int, data: bytes, authenticated_data: bytes, padding: Padding
) -> MessageSize:
    """Return the sizes of the message that `Group.encrypt` would make of `data`."""
    content = FramedContent(group_id, epoch, MemberSender(0), authenticated_data, ApplicationData(data))
    signature = suite.signature.sign(suite.signature.generate(os.urandom), b"")
    auth = AuthData(signature)
    length = len(PrivateMessageContent(content.body, auth).encode())
    key, nonce = Secret(bytes(suite.key_size)), Secret(bytes(suite.nonce_size))
    found = FoundKey(key, nonce, 0, (0, 0), None, (), None)
    message = seal_content(
        suite,
        content,
        auth,
        sender_leaf=0,
        sender_data_secret=Secret(bytes(suite.hash_size)),
        found=found,
        padding=padding,
        random=os.urandom,
    )
    return MessageSize(length, max(length, padding(length)), len(encode_message(message)))
