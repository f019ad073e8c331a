"""What happened in a simulation, told line by line, and the first rule that was broken."""

import asyncio
from dataclasses import dataclass, field

LAST = 120
"""Lines of the story that a failure shows."""


class BrokenRuleError(AssertionError):
    """A rule of safety or liveness did not hold; `rule` is its sentence."""

    def __init__(self, rule: str, story: str) -> None:
        super().__init__(f"{rule}\n{story}")
        self.rule = rule


@dataclass
class Story:
    """The events of one simulation; `replay` is the command that tells it again."""

    replay: str
    lines: list[str] = field(default_factory=list)
    broken: str | None = None

    def tell(self, who: str, what: str) -> None:
        """Add an event."""
        self.lines.append(f"{asyncio.get_running_loop().time():10.3f}  {who:<9} {what}")

    def breaks(self, rule: str) -> None:
        """Note that a rule is broken; the runner of the simulation ends it."""
        if self.broken is None:
            self.broken = rule
            self.tell("RULE", rule)

    def check(self) -> None:
        """Raise the first broken rule, with the story so far."""
        if self.broken is not None:
            shown = "\n".join(self.lines[-LAST:])
            raise BrokenRuleError(self.broken, f"the last of {len(self.lines)} events:\n{shown}\nreplay: {self.replay}")
