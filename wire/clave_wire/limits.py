"""Every bound of the wire protocol, in one place. Both ends enforce them before they allocate."""

MAX_FRAME_BEFORE_LOGIN = 16 * 1024
"""Bytes of one frame before login succeeded."""

MAX_FRAME = 4 * 1024 * 1024
"""Bytes of one frame after login: `Resumed` names all devices of a room in one."""

MAX_PAYLOAD_BYTES = 1024 * 1024
"""Bytes of one entry's payload."""

MAX_WELCOME_BYTES = 2 * 1024 * 1024
"""Bytes of a welcome, or of help for a lost device.

Members let no more than 500 devices into a room. Into a post-quantum one of 500 with the longest names, a
welcome has 1,410,000 bytes where one commit adds them all, 1,440,000 where all parents of the tree are set.
"""

MAX_MEMBERS = 20_000
"""Devices in one room: `Resumed` names them all in one frame."""

MAX_NAME_BYTES = 64
"""Characters of a software name or registration token; account names are held tighter in `text`."""

MAX_TEXT_BYTES = 512
"""Characters of an explanation."""

MAX_IDENTITY_BYTES = 1024
MAX_SIGNATURE_BYTES = 1024
"""Bytes of a signature by a certificate's key: RSA of 8192 bits."""

MAX_KEY_PACKAGE_BYTES = 16 * 1024
MAX_KEY_PACKAGES = 100
"""Key packages in one message, and waiting for one device in all suites together."""

MAX_SUITES = 16
"""Cipher suites one device keeps key packages of."""

MAX_BATCH_MEMBERS = 1000
MAX_VERSIONS = 16
MAX_RESTORES = 32
"""Restores of a relay from a backup that it still tells of, the last ones."""
