"""The commands in what the tool says, with the flags that were typed: pasted, they are about the same lock.

The password is the exception: what is printed may be kept, so PASSWORD stands for it.
"""

from collections.abc import Callable, Mapping

from locksmith.util.commands import with_flags

STORE_FLAGS = ("endpoint", "etcd_api", "etcd_cafile", "etcd_certfile", "etcd_keyfile", "etcd_username")

_flags: list[Callable[[], Mapping[str, str]]] = []


def use_flags(flags: Callable[[], Mapping[str, str]]) -> None:
    """Have the commands in all that is said from here on take these flags."""
    _flags[:] = [flags]


def pasteable(sentence: str) -> str:
    """Give a sentence with commands that can be pasted."""
    return with_flags(sentence, _flags[0]()) if _flags and "locksmithctl " in sentence else sentence


def typed_flags(flags: Mapping[str, object]) -> dict[str, str]:
    """Give the flags before the command, as they are to be typed again: how to reach the store."""
    found = {}
    for name in STORE_FLAGS:
        value = flags.get(name)
        if value:
            found[name.replace("_", "-")] = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return {**found, "etcd-password": "PASSWORD"} if flags.get("etcd_password") else found
