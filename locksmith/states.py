"""The machine's state in one word, as every reporter shows it."""

from locksmith.decide import Adopt, Commit, Finish, Idle, Reboot, Release, Request, Step, Wait, Withdraw

IDLE = "idle"
WAITING = "waiting"
REQUESTING = "requesting"
REBOOTING = "rebooting"
RELEASING = "releasing"
WITHDRAWING = "withdrawing"
STUCK = "stuck"
FINISHED = "finished"

ERRORS = ("store", "bus", "logind", "trigger", "corrupt", "host", "configuration", "locksmith", "timeout", "defect")
"""The components whose errors are counted; the reasons to wait that are errors carry these names."""

ALL = (IDLE, WAITING, REQUESTING, REBOOTING, RELEASING, WITHDRAWING, STUCK, FINISHED)


def state(step: Step) -> str:  # noqa: PLR0911 - one for each step
    """Name the state in which the loop takes this step."""
    match step:
        case Idle():
            return IDLE
        case Wait(code="rebooting"):
            return REBOOTING
        case Wait(code="stuck"):
            return STUCK
        case Wait():
            return WAITING
        case Adopt() | Release():
            return RELEASING
        case Request():
            return REQUESTING
        case Commit() | Reboot():
            return REBOOTING
        case Withdraw():
            return WITHDRAWING
        case Finish():
            return FINISHED


def sentence(step: Step) -> str:  # noqa: PLR0911 - one for each step
    """Say the step and its reason for a person, in local time."""
    match step:
        case Wait(code, text, until):
            ends = f", until {until.astimezone():%a %Y-%m-%d %H:%M:%S %Z}" if until else ""
            return f"waiting ({code}): {text}{ends}"
        case Idle():
            return "idle: nothing wants a reboot"
        case Adopt():
            return "looking for a slot from before this machine had a journal"
        case Request():
            return "asking for permission to reboot"
        case Commit():
            return "permission given: passing the point of no return"
        case Reboot():
            return "rebooting"
        case Release():
            return "rebooted: giving the slot back"
        case Withdraw(reason):
            return f"giving up the reboot and its slot: {reason}"
        case Finish():
            return "nothing to do: this strategy never reboots"
