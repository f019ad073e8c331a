"""The machine's state in one word, as every reporter shows it."""

from locksmith.agent.facts import Stage
from locksmith.agent.steps import (
    Abort,
    Adopt,
    Commit,
    Finish,
    Idle,
    Reboot,
    Release,
    ReportFailure,
    Request,
    Run,
    Step,
    TakeOver,
    Undo,
    Wait,
    Warn,
)
from locksmith.lock.records.states import (
    ABORTING,
    FINISHED,
    IDLE,
    PREPARING,
    REBOOTING,
    RELEASING,
    REQUESTING,
    SICK,
    STUCK,
    VERIFYING,
    WAITING,
)

_AFTER = {Stage.HEALTH, Stage.FINISH}
_RUNS = {
    Stage.CHECKS: "running the checks before the reboot",
    Stage.REHEARSAL: "rehearsing the hooks",
    Stage.PREPARE: "running the hooks before the reboot",
    Stage.UNDO: "running the hooks that undo",
    Stage.HEALTH: "checking this machine's health",
    Stage.FINISH: "running the hooks after the reboot",
}


def state_of(step: Step) -> str:  # noqa: C901, PLR0911, PLR0912 - one for each step
    """Name the state in which the loop takes this step."""
    match step:
        case Idle():
            return IDLE
        case Wait(code="rebooting"):
            return REBOOTING
        case Wait(code="stuck"):
            return STUCK
        case Wait(code="verifying"):
            return VERIFYING
        case Wait(code=code) if code in SICK:
            return code
        case Wait(code="hooks" | "checks" | "sessions"):
            return PREPARING
        case Wait():
            return WAITING
        case Adopt() | Release():
            return RELEASING
        case Request():
            return REQUESTING
        case Run(stage):
            return VERIFYING if stage in _AFTER else PREPARING
        case Warn():
            return PREPARING
        case ReportFailure(state_):
            return state_
        case Commit() | Reboot():
            return REBOOTING
        case Abort() | Undo() | TakeOver():
            return ABORTING
        case Finish():
            return FINISHED


def sentence(step: Step) -> str:  # noqa: C901, PLR0911, PLR0912 - one for each step
    """Say the step and its reason for a person, in local time."""
    match step:
        case Wait(code, text, until):
            ends = f", until {until.astimezone():%a %Y-%m-%d %H:%M:%S %Z}" if until else ""
            return f"waiting ({code}): {text}{ends}"
        case Idle():
            return "idle: nothing wants a reboot"
        case Adopt():
            return "looking for a slot from before this machine had a reboot journal"
        case Request():
            return "asking for permission to reboot"
        case Commit():
            return "permission given: passing the point of no return"
        case Reboot():
            return "rebooting"
        case Release():
            return "rebooted and healthy: releasing the slot"
        case Run(stage):
            return _RUNS[stage]
        case Warn(until):
            return f"warning the users: reboot at {until.astimezone():%H:%M:%S %Z}"
        case ReportFailure(state_, failure):
            return f"{state_}: {failure}"
        case Undo(reason):
            return f"undoing the hooks: {reason}"
        case TakeOver():
            return "the operator's reboot has ended, or stands still: taking its claim over, to release it"
        case Abort(reason):
            return f"aborting the reboot and releasing its slot: {reason}"
        case Finish():
            return "nothing to do: this strategy never reboots"
