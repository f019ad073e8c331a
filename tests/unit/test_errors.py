"""The tree of errors in the docstring of locksmith/errors.py is the tree of the classes."""

import importlib
import inspect
import pkgutil
import re
from types import ModuleType

import locksmith
from locksmith import errors
from locksmith.errors import LocksmithError

INTERNAL = {
    "locksmith.daemon.metrics_http.BadRequestError": "its module answers with HTTP status 400",
    "locksmith.host.dbus.frames.NoMessageError": "wire.py ends the connection: a BusGoneError or a NoAnswerError",
    "locksmith.host.dbus.link.UnreadableError": "its module raises a StrangeAnswerError, or answers with an error",
    "locksmith.lock.keyspaces._NoV2Error": "its module asks the next endpoint",
    "locksmith.lock.keyspaces._UndecidedError": "its module asks the next endpoint",
    "locksmith.server.api_answers.NotFoundError": "api_http.py answers with HTTP status 404",
    "locksmith.server.api_endpoints.BadQueryError": "api_http.py answers with HTTP status 400",
    "locksmith.server.api_http.RefusedError": "its module answers with the HTTP status that it names",
    "locksmith.server.fair_turns.CrowdedError": "its module answers with HTTP status 429",
    "locksmith.server.web.requests.BadFormError": "site.py and sign_in.py answer with HTTP status 400",
    "locksmith.server.web.site.RefusedError": "its module answers with the HTTP status that it names",
    "locksmith.store.exchange._StaleError": "its module makes another connection",
    "locksmith.host.kept_links.StaleError": "http_server.py makes another connection",
    "locksmith.store.link.LinkError": "exchange.py, which knows what was sent, raises a FailedError",
    "locksmith.store.link.TooLongError": "exchange.py, which knows what was sent, raises a FailedError",
    "locksmith.window.calendar_field.TooManyNumbersError": "calendar.py raises a ValueError with a sentence",
    "locksmith.window.openings.TooManyStretchesError": "windows.py and possible.py answer that no opening is known",
}
"""The errors that never leave their package, and what becomes of each."""

LINE = re.compile(r"(?P<branch>(?:(?:│|├──|└──| ) *)*)(?P<name>\w+Error)(?: \((?P<module>[\w.]+)\))? +(?P<knows>\S.*)")
DEPTH = len("├── ")


def drawn() -> dict[str, str]:
    """Read the tree in the docstring: each class, and its parent."""
    tree: dict[str, str] = {}
    path: list[str] = []
    for line in (inspect.getdoc(errors) or "").split("\n\n")[-1].splitlines():
        found = LINE.fullmatch(line)
        assert found, f"this line of the tree cannot be read: {line}"
        name = f"locksmith.{found['module'] or 'errors'}.{found['name']}"
        path[len(found["branch"]) // DEPTH :] = [name]
        assert name not in tree, f"{name} is in the tree twice"
        tree[name] = path[-2] if len(path) > 1 else ""
    return tree


def modules() -> list[ModuleType]:
    """Import every module of locksmith."""
    found = pkgutil.walk_packages(locksmith.__path__, "locksmith.")
    return [importlib.import_module(module.name) for module in found]


def defined() -> dict[str, type[BaseException]]:
    """Find every class of an exception that a module of locksmith defines."""
    return {
        full_name(kind): kind
        for module in modules()
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__module__ == module.__name__
    }


def full_name(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def parent(kind: type[BaseException]) -> str:
    return next((full_name(base) for base in kind.__bases__ if issubclass(base, LocksmithError)), "")


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    classes = {
        name: parent(kind)
        for name, kind in defined().items()
        if issubclass(kind, LocksmithError) and name not in INTERNAL
    }
    assert drawn() == classes


def test_every_exception_is_in_the_tree_or_has_a_reason_to_be_internal() -> None:
    assert set(defined()) - set(drawn()) == set(INTERNAL)


def test_every_error_says_in_its_own_docstring_what_its_catcher_knows() -> None:
    assert [name for name, kind in defined().items() if not vars(kind).get("__doc__")] == []
