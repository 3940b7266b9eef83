"""All limits of the wire protocol. Both ends enforce them before they allocate."""

MAX_FRAME_BEFORE_LOGIN = 16 * 1024
"""Bytes of one frame before login."""

MAX_FRAME = 4 * 1024 * 1024
"""Bytes of one frame after login; the largest is a `Resumed` with all devices of a room."""

MAX_PAYLOAD_BYTES = 1024 * 1024
"""Bytes of one entry's payload."""

MAX_WELCOME_BYTES = 2 * 1024 * 1024
"""Bytes of a welcome or a sealed group info.

Members allow 500 devices in a room. In a post-quantum room of 500 with the longest names, a welcome has
1,410,000 bytes if one commit adds them all, and 1,440,000 if all parent nodes of the tree are set.
"""

MAX_MEMBERS = 20_000
"""Devices in one room: `Resumed` names them all in one frame."""

MAX_NAME_BYTES = 64
"""Characters of a software name or registration token; `text` has the tighter limit of account names."""

MAX_TEXT_BYTES = 512
"""Characters of an explanatory text."""

MAX_IDENTITY_BYTES = 1024
MAX_SIGNATURE_BYTES = 1024
"""Bytes of a signature by a certificate's key: RSA of 8192 bits."""

MAX_LINKS = 8
"""Links that a room has at a time."""

MAX_SEALED_KEY_BYTES = 2048
"""Bytes of a key that is sealed to a link: in a post-quantum room 1,168."""

MAX_KEY_PACKAGE_BYTES = 16 * 1024
MAX_KEY_PACKAGES = 100
"""Key packages in one message, and stored of one device in all suites together."""

MAX_SUITES = 16
"""Cipher suites that one device has key packages of."""

MAX_BATCH_MEMBERS = 1000
MAX_VERSIONS = 16
MAX_RESTORES = 32
"""Restores from a backup that `Resumed` lists: the latest."""

MAX_PASSED_BYTES = 8 * 1024
"""Bytes that one device passes on to another at a time."""

MAX_REVOCATIONS = 256
"""Devices that an account has revoked."""
