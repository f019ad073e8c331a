"""Tokens of locksmith-server: `lsm_<public>_<secret>`. Pure, but for the random secret.

The public part names the record of the credential in the store, and may be shown. The secret has 256 random bits. So
one SHA-256 of the whole token is enough to keep: no dictionary and no machine finds a token from it, and a slow hash
would only cost the server time. A record without such a secret, as a password, would need a slow one.
"""

import hmac
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from locksmith.util.secret import TOKENS


class Kind(StrEnum):
    """What a token is for; the value begins it."""

    MACHINE = "lsm"
    VIEWER = "lsv"
    OPERATOR = "lso"
    ENROLMENT = "lse"
    SESSION = "lss"


_TOKEN = re.compile(TOKENS)
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Token:
    """A token: what it is for, the public part, and the whole text."""

    kind: Kind
    public: str
    text: str = field(repr=False)

    @property
    def digest(self) -> str:
        """What is kept of it: the SHA-256 of the whole text, in 64 hexadecimal digits."""
        return sha256(self.text.encode()).hexdigest()


def new_token(kind: Kind, public: str = "") -> Token:
    """Make a token, with a public part of its own, or the given one of 32 hexadecimal digits."""
    public = public or secrets.token_hex(16)
    return Token(kind, public, f"{kind.value}_{public}_{secrets.token_urlsafe(32)}")


def parse(text: str) -> Token | None:
    """Read a token; None: it is none."""
    if not _TOKEN.fullmatch(text):
        return None
    kind, public, _ = text.split("_", 2)
    return Token(Kind(kind), public, text)


def is_digest(text: str) -> bool:
    """Whether a text can be the digest of a token."""
    return _DIGEST.fullmatch(text) is not None


def same(one: str, other: str) -> bool:
    """Compare two digests, in a time that tells nothing of them."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def public_of_machine(group: str, machine: str) -> str:
    """Give the public part for a machine in a group: so it has one credential there, and its token says no id."""
    return _public("machine", group, machine)


def public_of_person(name: str) -> str:
    """Give the public part for a viewer or an operator: a name has one credential."""
    return _public("person", name)


def _public(*parts: str) -> str:
    return sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:32]
