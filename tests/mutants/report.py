"""The table: of each module, how many mutants were noticed and by what; then each that was not, and has no reason."""

import json
from collections import Counter
from dataclasses import asdict

from tests.mutants import results
from tests.mutants.results import NOTICED, OPEN, UNCHECKED, Mutant

SIMULATION, REASON = "simulation", "reason"
COLUMNS = (NOTICED, SIMULATION, REASON, OPEN, UNCHECKED)
TITLES = ("unit tests", "simulation", "equivalent", "not noticed", "unchecked")


def is_of(mutant: Mutant, modules: list[str]) -> bool:
    """Whether a mutant is of one of the modules that are asked for; of none: of all."""
    return not modules or mutant.path.rpartition("/")[2].removesuffix(".py") in modules


def show(mutants: list[Mutant], modules: list[str]) -> int:
    """Print it; 1 where a mutant is not noticed and has no reason, or the simulation did not end with it."""
    played, reasons = results.simulated(), results.reasons()
    kinds = {one: _kind(one, played, reasons) for one in mutants if is_of(one, modules)}
    left = [one for one, kind in kinds.items() if kind == OPEN]
    for one in left:
        print(f"{one.path}:{one.line}\n{one.diff}\n{_entry(one)}")
    counts = Counter((one.path, kind) for one, kind in kinds.items())
    print(f"| module | mutants | {' | '.join(TITLES)} |  |\n|---|{'---|' * (len(TITLES) + 2)}")
    for path in sorted({one.path for one in kinds}):
        _row(path, [counts[path, kind] for kind in COLUMNS])
    _row("all", [sum(counts[path, kind] for path in {one.path for one in kinds}) for kind in COLUMNS])
    if not modules:
        for change in reasons.keys() - {one.change for one in mutants if one.kind in {OPEN, UNCHECKED}}:
            print(f"{results.REASONS.name} explains what is noticed by now: {change}")
    print(f"{len(left)} not noticed, and without a reason in {results.REASONS.name}")
    unended = [one for one, kind in kinds.items() if one.kind == OPEN and kind == UNCHECKED]
    for one in unended:
        print(f"not judged, the simulation did not end within its limit: {one.path}:{one.line} {one.name}")
    return bool(left or unended)


def _entry(one: Mutant) -> str:
    """Write what the file of reasons needs of it."""
    fields = "".join(f"{name} = {json.dumps(text)}\n" for name, text in asdict(one.change).items())
    return f'[[survivor]]\n{fields}reason = ""\n'


def _kind(one: Mutant, played: dict[str, bool | None], reasons: dict[results.Change, str]) -> str:
    if one.kind != OPEN:
        return one.kind
    if one.change in reasons:
        return REASON
    return {True: SIMULATION, None: UNCHECKED}.get(played.get(one.diff, False), OPEN)


def _row(name: str, numbers: list[int]) -> None:
    checked = sum(numbers) - numbers[-1]
    noticed = 100 * sum(numbers[:2]) / checked if checked else 0
    cells = " | ".join(str(number) for number in [sum(numbers), *numbers])
    print(f"| {name.removeprefix('locksmith/')} | {cells} | {noticed:.1f} % |")
