"""What scripts get of a forecast. Pure."""

from datetime import datetime

from locksmith.fleet.forecast import sentences
from locksmith.fleet.forecast.advice import Advice
from locksmith.fleet.forecast.answer import Answer
from locksmith.util.records import moment


def fields(answer: Answer, advice: Advice) -> dict[str, object]:
    """Give what scripts get; docs/simulate.md has it."""
    began = answer.plan.start.timestamp()

    def at(seconds: float) -> str:
        return moment(datetime.fromtimestamp(seconds, answer.plan.start.tzinfo))

    return {
        "start": moment(answer.plan.start),
        "runs": len(answer.ends[0]),
        "p50": at(answer.p50),
        "p95": at(answer.p95),
        "p50_seconds": answer.p50 - began,
        "p95_seconds": answer.p95 - began,
        "groups": [
            {
                "name": group.plan.name,
                "machines": group.plan.machines,
                "slots": group.plan.slots,
                "windows": None if group.plan.windows is None else group.openings,
                "most": group.most,
                "failed": group.failed,
                "p50": at(group.p50),
                "p95": at(group.p95),
                "p50_seconds": group.p50 - began,
                "p95_seconds": group.p95 - began,
                "last": group.last,
                "limit": group.limit,
                "spent": {limit: round(seconds, 3) for limit, seconds in group.spent.items()},
            }
            for group in answer.groups
        ],
        "last": answer.last.plan.name,
        "limits": [{"group": group.plan.name, "what": group.limit} for group in advice.groups],
        "text": sentences.limit(advice),
        "savings": [
            {
                "change": saving.change,
                "what": saving.what,
                "groups": list(saving.groups),
                "seconds": saving.seconds,
                "then": saving.then or None,
            }
            for saving in advice.savings
        ],
    }
