"""The files of the configuration: `locksmith.toml` of the first folder that has it, and the drop-ins of all folders."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from locksmith.config.problems import EVERYTHING, Problems
from locksmith.errors import HostError, UsageError
from locksmith.host.layered import Layered, first_of, layered
from locksmith.host.paths import Paths
from locksmith.host.program_files import all_program_files

MAIN = "locksmith.toml"
DROP_INS = f"{MAIN}.d"


def find_files(folders: Sequence[Path], problems: Problems) -> tuple[Layered, ...]:
    """Give the files in the order in which they are read, masks too. What cannot be listed is a problem."""
    main = problems.attempt_value(lambda: _main(folders), EVERYTHING)
    drop_ins = problems.attempt_value(lambda: _drop_ins(folders), EVERYTHING)
    return (*([main] if main else []), *(drop_ins or []))


def cautions_of_files(folders: Sequence[Path], files: Sequence[Layered]) -> tuple[str, ...]:
    """Name the masks that mask nothing, and the files that look like a part of the configuration, and are none."""
    ignored = sorted(path for path in _others(folders) if not path.name.startswith("."))
    whole = f"only {MAIN}, and the files in {DROP_INS} that end in .toml, are read"
    return (*_masks_of_nothing(files), *(f"{path} is ignored: {whole}" for path in ignored))


def cautions_of_masked_programs(paths: Paths) -> tuple[str, ...]:
    """Name the masks of checks and hooks that mask nothing."""
    return tuple(_masks_of_nothing(_programs(paths)))


def effective_masks(paths: Paths, files: Sequence[Layered]) -> list[Layered]:
    """Give the masks of the configuration, checks and hooks that leave out a file."""
    return [file for file in (*files, *_programs(paths)) if file.is_mask and file.hides]


def _programs(paths: Paths) -> Sequence[Layered]:
    try:
        return all_program_files(paths)
    except HostError:  # named as a problem where the programs are needed
        return ()


def _masks_of_nothing(files: Iterable[Layered]) -> Iterator[str]:
    """Say of each mask without a file to mask that it has none."""
    for file in files:
        if file.masks_nothing:
            yield (
                f"{file.path} is a link to /dev/null and masks nothing, as no folder after its own has a "
                f"{file.path.name}: correct its name, or remove it"
            )


def _main(folders: Sequence[Path]) -> Layered | None:
    paths = [folder / MAIN for folder in folders]
    try:
        return first_of(paths)
    except HostError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise _unreadable(error, paths[0]) from None


def _drop_ins(folders: Sequence[Path]) -> list[Layered]:
    try:
        return layered([folder / DROP_INS for folder in folders], _is_drop_in)
    except HostError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise _unreadable(error, folders[0]) from None


def _unreadable(error: OSError, path: Path) -> UsageError:
    return UsageError(f"{error.filename or path} cannot be read: {error.strerror}")


def _is_drop_in(path: Path) -> bool:
    return path.name.endswith(".toml") and not path.name.startswith(".")


def _others(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        with suppress(OSError):  # a folder that cannot be read is another problem, a missing one has no files
            yield from [path for path in folder.iterdir() if path.suffix == ".toml" and path.name != MAIN]
        with suppress(OSError):
            yield from [path for path in (folder / DROP_INS).iterdir() if not path.name.endswith(".toml")]
