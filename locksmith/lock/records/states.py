"""The words for the state of a machine, as its presence and every reporter show them."""

from locksmith.lock.records.claim import FAILED, UNHEALTHY

IDLE = "idle"
WAITING = "waiting"
REQUESTING = "requesting"
REBOOTING = "rebooting"
PREPARING = "preparing"
VERIFYING = "verifying"
RELEASING = "releasing"
ABORTING = "aborting"
STUCK = "stuck"
FINISHED = "finished"

REBOOTED = "rebooted: "
NOT_HEALTHY = "rebooted, and not healthy yet: "
"""How the reason of a machine that is verifying begins; the cause follows."""

ERRORS = (
    *("store", "other_cluster", "bus", "logind", "trigger", "corrupt", "host", "configuration", "locksmith", "timeout"),
    "defect",
)
"""The components whose errors are counted; the reasons to wait that are errors carry these names."""

REASONS = (
    *(
        "window",
        "splay",
        "arrival",
        "queue",
        "slot",
        "server",
        "ended",
        "clone",
        "other_claim",
        "orphaned",
        "off",
        "retry",
        "given_up",
    ),
    *(
        "repeated",
        "max_per_day",
        "inhibitor",
        "clock",
        "uptime",
        "alerts",
        "checks",
        "hooks",
        "sessions",
        "freeze",
        "hold",
        "halt",
    ),
    *("spacing", "restored", "take_fails", "verifying", UNHEALTHY, FAILED, "dry_run", "operator", "going_down"),
    *("rebooting", "stuck", *ERRORS),
)
"""The reasons to wait that locksmith itself gives; a strategy of another package may have its own."""

ALL = (
    *(IDLE, WAITING, REQUESTING, PREPARING, REBOOTING, VERIFYING, UNHEALTHY, FAILED, RELEASING, ABORTING, STUCK),
    FINISHED,
)

SICK = (UNHEALTHY, FAILED)
"""The states of a reboot that went wrong."""
