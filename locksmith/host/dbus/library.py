"""The D-Bus library, at the only place that imports it: dbus-fast where it is installed, otherwise dbus-next.

locksmith uses it to read and write single messages. docs/dependencies.md says what dbus-next does worse.
"""

import io
from typing import Any

# Neither library has a public reader of one message, or a public writer.
try:
    from dbus_fast import ErrorType, Message, MessageFlag, MessageType, Variant
    from dbus_fast._private.unmarshaller import Unmarshaller
except ModuleNotFoundError as missing:
    if missing.name != "dbus_fast":
        raise
    from dbus_next import ErrorType, Message, MessageFlag, MessageType, Variant
    from dbus_next._private.unmarshaller import Unmarshaller

__all__ = ["ErrorType", "Message", "MessageFlag", "MessageType", "Variant", "read", "written"]


def read(raw: bytes) -> Message | None:
    """Give the message that these bytes are; None: it says that it is longer. Any error: they are none."""
    stream: Any = io.BytesIO(raw)  # the libraries want more of a stream than they use
    return Unmarshaller(stream).unmarshall()


def written(message: Message) -> bytes:
    """Give the bytes of a message."""
    return bytes(message._marshall(False))  # noqa: SLF001 - see above
