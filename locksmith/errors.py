"""Every error locksmith raises on purpose.

LocksmithError                 one clear sentence for a person; the command line prints it and exits 1
├── UsageError                 bad arguments or configuration; the command line exits 2
├── CorruptValueError          a value in the store (or the journal) that is not what it must be: never overwritten
├── StoreError                 the store did not do what was asked
│   ├── StoreUnavailableError  no endpoint answered, or all answered with doubt; nothing was written
│   │   └── OtherClusterError  another etcd cluster answers than the one that counts, or the endpoints disagree
│   ├── StoreRefusedError      the store understood and said no (authentication, permission, two keyspaces)
│   │   └── PastGoneError      the store no longer knows what was at that revision: read as it is now
│   ├── OutcomeUnknownError    a write was sent and its answer lost: it may or may not be applied, now or later
│   │   └── StoreFullError     the store has no space for writes: this one is applied by now, or never
│   └── ConflictError          a compare-and-swap lost: what it compared with is no longer there; nothing was written
├── LockError                  the lock was not taken or given back
│   └── OlderJournalError      the store knows more of this reboot than the machine's journal: nothing was released
└── HostError                  this machine (D-Bus, logind, files) did not do what was asked
    ├── RebootRefusedError     the reboot was answered with an error: the machine is not going down
    └── RebootUnknownError     the reboot was sent and its answer lost: the machine may be going down
"""


class LocksmithError(Exception):
    """The root: its text is one sentence that names the thing, the place and the way out.

    `component` names in one word what failed, for the metrics.
    """

    component = "locksmith"


class UsageError(LocksmithError):
    """Arguments or configuration that cannot be used."""

    component = "configuration"


class CorruptValueError(LocksmithError):
    """A stored value that cannot be read; `key` names where it stands."""

    component = "corrupt"

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


class StoreError(LocksmithError):
    """The store did not do what was asked."""

    component = "store"


class StoreUnavailableError(StoreError):
    """No endpoint gave an answer that can be trusted; nothing was written."""


class OtherClusterError(StoreUnavailableError):
    """Another cluster answers than the one that counts, or the endpoints belong to several: no answer counts."""

    component = "other_cluster"


class StoreRefusedError(StoreError):
    """The store said no: wrong credentials, missing rights, or the other keyspace is in use."""


class PastGoneError(StoreRefusedError):
    """The store cannot tell any more what was at a revision: it was compacted, or went back in time."""


class OutcomeUnknownError(StoreError):
    """A write was sent and no answer came: it may be applied now, later or never."""


class StoreFullError(OutcomeUnknownError):
    """The store takes no writes until somebody has made space; the one that filled it was applied all the same."""


class ConflictError(StoreError):
    """The key was changed since it was read; nothing was written."""


class LockError(LocksmithError):
    """The lock was not taken, or not given back, for a reason that is not the store's."""


class OlderJournalError(LockError):
    """The record of a claim knows more of its reboot than the machine's journal: its disk was rolled back.

    `state` is `failed` or `unhealthy`, the text what went wrong: what the machine has to report.
    """

    def __init__(self, state: str, text: str) -> None:
        super().__init__(text)
        self.state = state


class HostError(LocksmithError):
    """This machine did not do what was asked."""

    component = "host"


class RebootRefusedError(HostError):
    """The reboot was answered with an error: this machine is not going down."""


class RebootUnknownError(HostError):
    """The reboot was asked for and no answer came: this machine may be going down."""
