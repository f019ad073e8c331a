"""Every error that locksmith raises on purpose, as one tree, and what each tells its catcher.

The text of each is a sentence for a person. Where a class is not defined here, its module follows its name.
tests/unit/test_errors.py compares this tree with the classes.

LocksmithError                                     the command line prints the sentence and exits 1
├── UsageError                                     refused: the arguments or the configuration; the command line exits 2
├── CorruptValueError                              cannot be read: a stored value, which was not overwritten
├── BadJsonError (util.jsonread)                   cannot be read: JSON from elsewhere; also a ValueError
├── StoreError                                     the store did not do what was asked
│   ├── StoreUnavailableError                      not done: no endpoint gave an answer that counts
│   │   └── OtherClusterError                      not done: another cluster answers, or the endpoints belong to several
│   ├── StoreRefusedError                          refused: by the store; the same request fails again
│   │   ├── ForbiddenError                         refused: the caller may not do that to what it names
│   │   ├── PastGoneError                          cannot be read: the store no longer has that revision
│   │   └── TokenRefusedError (store.grpc)         refused: the token; a new token may do
│   ├── OutcomeUnknownError                        may be done: a write was sent, and no answer came
│   │   └── StoreFullError                         may be done: the store has no space for writes
│   └── ConflictError                              not done: a compared key has changed since it was read
├── FailedError (store.exchange)                   one endpoint failed; the client tries another, or raises a StoreError
│   ├── NotDoneError (store.exchange)              not done: another endpoint may be asked
│   │   └── UnreachableError (store.exchange)      not done: there was no connection
│   └── MaybeDoneError (store.exchange)            may be done: the endpoint took the request
│       └── FullError (store.grpc)                 may be done: no member has space for writes
├── ForeignError (store.cluster)                   not done: one endpoint belongs to another cluster
├── NotSentError (store.etcd2_member)              not done: one endpoint of the v2 API did not get the request
├── LostError (store.etcd2_member)                 may be done: one endpoint of the v2 API gave no answer that counts
├── AnsweredNoError (store.etcd2_member)           refused: etcd's v2 API gave a code that is definite
├── LockError                                      the lock was not taken, kept or released
│   ├── DeniedError (lock.errors)                  not done: ask again after a change past `revision`
│   │   ├── SlotsBusyError (lock.errors)           not done: there is no free slot
│   │   │   └── PreparedBusyError (lock.prepared)  not done: `prepared` has the readings for the next attempt
│   │   ├── OtherClaimError (lock.errors)          not done: the machine's id has a slot for another claim
│   │   ├── RepeatedError (lock.errors)            not done: it has rebooted for this cause, or too often
│   │   └── NotAdmittedError (lock.errors)         not done: an order, or another member, keeps this machine waiting
│   │       └── HaltedError (lock.errors)          not done: the rollout is halted until `locksmithctl resume`
│   ├── LostClaimError (lock.errors)               refused: the claim has no slot any more
│   ├── OtherServerError (lock.errors)             not done: another server acts for the same client; read again
│   ├── OtherMachineError (lock.errors)            not done: a machine with this client's id is present
│   ├── PlaceGoneError (lock.errors)               not done: the client's place went while its slot was being taken
│   ├── EndedError (lock.ended)                    not done: the machine has ended this claim; the call came late
│   ├── FreedOrNotError (lock.errors)              may be done: the id still has a slot, or has a slot again
│   ├── ChangedClaimError (lock.errors)            not done: the slot is held for something else than was shown
│   ├── ChangedIncidentsError (lock.errors)        refused: something else has gone wrong than what was shown
│   ├── ChangedOrderError (lock.errors)            refused: the present order is not the one that was shown
│   ├── StalePageError (server.web.plans)          refused: the present state is not what the page has shown
│   ├── MidRebootError (lock.errors)               not done: the machine is present, and not through its reboot
│   ├── NotManualError (lock.errors)               not done: the slot is held for something else than a manual lock
│   ├── OlderJournalError                          not done: the store knows more of this reboot than the reboot journal
│   ├── NoFreeSlotError (lock.records.semaphore)   not done: every slot is held
│   ├── AlreadyHeldError (lock.records.semaphore)  not done: the holder has a slot already
│   ├── NotHeldError (lock.records.semaphore)      not done: the holder has no slot
│   └── BlockedError (cli.reboot.preparation)      refused: a gate blocks now, and may allow the reboot later
├── TooManyCallsError (server.turns)               refused: too many calls of one client are under way
├── NotForeseenError (server.foreseen)             not done: memory does not tell what a call would do; etcd is asked
├── DeliveryError (server.delivery)                may be done: a target has not taken a message, as far as is known
├── MissingLibraryError (server.delivery)          not done: apprise is not installed, or is too old
├── HostError                                      this machine (D-Bus, logind, files) did not do what was asked
│   ├── RebootRefusedError                         refused: the machine does not go down
│   ├── RebootUnknownError                         may be done: the machine may go down
│   ├── TakenOverError (host.journal)              not done: the claim has left the reboot journal
│   ├── TooManyError (host.dbus.callers)           refused: a sender on the bus has sent too much
│   └── BusError (host.dbus.errors)                a call on the system bus did not do what was asked
│       ├── BusGoneError (host.dbus.errors)        not done: there is no connection to the bus
│       ├── NoAnswerError (host.dbus.errors)       may be done: the call was sent, and no answer came
│       ├── AnsweredError (host.dbus.errors)       refused: the other side answered with an error
│       │   └── NobodyError (host.dbus.errors)     not done: the name has no owner
│       └── StrangeAnswerError (host.dbus.errors)  cannot be read: the call is done, its answer has another type
└── RefusedError (host.dbus.messages)              refused: a call to this program; its caller gets the D-Bus error
"""


class LocksmithError(Exception):
    """What was asked is not done, as far as the class says no more; the text says what happened, why, and what to do.

    `component` names in one word what failed, for the metrics.
    """

    component = "locksmith"


class UsageError(LocksmithError):
    """Refused: the arguments or the configuration cannot be used. Nothing was done."""

    component = "configuration"


class CorruptValueError(LocksmithError):
    """Cannot be read: the value of `key` is not what it must be. It was not overwritten."""

    component = "corrupt"

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


class StoreError(LocksmithError):
    """The store did not do what was asked; the class says what is known of a write."""

    component = "store"


class StoreUnavailableError(StoreError):
    """Not done: no endpoint gave an answer that counts. Nothing was written."""


class OtherClusterError(StoreUnavailableError):
    """Not done: another cluster answers than the one that counts, or the endpoints belong to several clusters."""

    component = "other_cluster"


class StoreRefusedError(StoreError):
    """Refused: wrong credentials, missing rights, or the other keyspace is in use. Nothing was written."""


class ForbiddenError(StoreRefusedError):
    """Refused: locksmith-server knows the caller, and the caller may not do that. Nothing was written."""


class PastGoneError(StoreRefusedError):
    """Cannot be read: the store no longer has that revision. The store was compacted, or restored from a backup."""


class OutcomeUnknownError(StoreError):
    """May be done: a write was sent and no answer came. The write takes effect now, later or never."""


class StoreFullError(OutcomeUnknownError):
    """May be done: the write that fills the store took effect. Others never do, until an operator has made space."""


class ConflictError(StoreError):
    """Not done: a compared key was changed since it was read. Nothing was written."""


class LockError(LocksmithError):
    """The lock was not taken, kept or released, for a reason that is not the store's."""


class OlderJournalError(LockError):
    """Not done: the claim's record knows more of this reboot than the reboot journal. The disk was rolled back.

    The slot was not released. `state` (`failed` or `unhealthy`) and the text are what the machine reports.
    """

    def __init__(self, state: str, text: str) -> None:
        super().__init__(text)
        self.state = state


class HostError(LocksmithError):
    """This machine (D-Bus, logind, files) did not do what was asked."""

    component = "host"


class RebootRefusedError(HostError):
    """Refused: logind answered with an error. This machine does not go down."""


class RebootUnknownError(HostError):
    """May be done: the reboot was asked for and no answer came. This machine may go down."""
