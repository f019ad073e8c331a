"""Forecasts for the API: one at a time is made, and each is kept for a minute."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from locksmith.errors import LocksmithError, UsageError
from locksmith.fleet.forecast.fields import fields as forecast_fields
from locksmith.fleet.forecast.outlook import outlook, outlook_plan
from locksmith.fleet.progress import progress
from locksmith.server.api_answers import Seen
from locksmith.server.api_endpoints import ALL
from locksmith.util.threads import in_thread

FORECAST_AGE: Final = 60.0
"""Seconds for which a forecast is not made again."""
FORECAST_LIMIT: Final = 30.0
"""Seconds for making one."""
RUNS: Final = 20
LARGE, RUNS_OF_LARGE = 1000, 5
"""Of how many machines on a rollout is played less often: it takes a thread, and so a core, for a second."""


class Forecasts:
    """The forecasts of all groups. `clock` is aware, and its zone that of the windows without one."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, dict[str, object]]] = {}
        self._making = asyncio.Lock()

    async def make(self, seen: Seen, of: str) -> dict[str, object]:
        """Give a forecast, which may be a minute old. One at a time is made."""
        group = seen.view.group
        async with self._making:
            at, made = self._known.get((group, of), (float("-inf"), {}))
            if time.monotonic() - at > FORECAST_AGE:
                made = await self._made(seen, everything=of == ALL)
                self._known[group, of] = (time.monotonic(), made)
        return {**seen.head, "group": group, "of": of, **made}

    async def _made(self, seen: Seen, *, everything: bool) -> dict[str, object]:
        view, events = seen.view, seen.events
        machines = len(view.machines) if everything else progress(view, events).left
        none = {"machines": machines, "forecast": None}
        try:
            plan = outlook_plan(view, events, self._clock(), everything=everything)
            if plan is None:
                return {**none, "problem": "no machine is present" if everything else "no machine needs a reboot"}
            runs = RUNS if machines <= LARGE else RUNS_OF_LARGE
            found = await in_thread(lambda: outlook(plan, runs), limit=FORECAST_LIMIT)
        except UsageError as error:
            return {**none, "problem": str(error)}
        except TimeoutError:
            return {**none, "problem": f"it was not made within {FORECAST_LIMIT:g} s"}
        except (LocksmithError, ValueError) as error:  # windows of a later version
            return {**none, "problem": f"the windows of its machines cannot be read: {error}"}
        return {"machines": machines, "forecast": forecast_fields(*found), "problem": None}
