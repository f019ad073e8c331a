"""What a mutant does: of mutmut's own changes those that types do not tell, and what a tired person leaves out.

Left out: conditions are negated; calls, early returns, errors raised, attributes set and named arguments are dropped.
Not used: arguments and values that become None (`make types` tells nearly all of them), and sentences for people.
"""

import re
from collections.abc import Iterable
from typing import Any, cast

import libcst as cst
from libcst import matchers as m
from mutmut.mutation import mutators

_NOT_USED = {mutators.operator_arg_removal, mutators.operator_assignment, mutators.operator_string}
_WORD = re.compile(r"""^[a-z]?["'][\w./:-]*["']$""")
_LOG = m.Expr(m.Call(func=m.Attribute(value=m.Name("log"))))
_SIMPLE = m.Comparison(comparisons=[m.ComparisonTarget()]) | m.UnaryOperation(operator=m.Not())


def register() -> None:
    """Change the list that mutmut goes by."""
    ours = [
        (cst.BaseString, _word_changed),
        (cst.If, _negated),
        (cst.While, _negated),
        (cst.Expr, _call_dropped),
        (cst.Return, _early_return_dropped),
        (cst.Raise, _raise_dropped),
        (cst.Assign, _attribute_not_set),
        (cst.Call, _named_argument_dropped),
    ]
    known: list[Any] = cast("list[Any]", mutators.mutation_operators)
    known[:] = [*(pair for pair in known if pair[1] not in _NOT_USED), *ours]


def _negated(node: cst.If | cst.While) -> Iterable[cst.CSTNode]:
    """`if x` becomes `if not x`; where mutmut turns the operator itself, that is the same."""
    if not m.matches(node.test, _SIMPLE):
        bare = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), bare))


def _call_dropped(node: cst.Expr) -> Iterable[cst.CSTNode]:
    """A statement that is a call, awaited or not, becomes `pass`; what is only logged is for people."""
    if m.matches(node.value, m.Call() | m.Await()) and not m.matches(node, _LOG):
        yield cst.Pass()


def _early_return_dropped(node: cst.Return) -> Iterable[cst.CSTNode]:
    if node.value is None:
        yield cst.Pass()


def _raise_dropped(_node: cst.Raise) -> Iterable[cst.CSTNode]:
    yield cst.Pass()


def _attribute_not_set(node: cst.Assign) -> Iterable[cst.CSTNode]:
    if any(m.matches(target.target, m.Attribute()) for target in node.targets):
        yield cst.Pass()


def _named_argument_dropped(node: cst.Call) -> Iterable[cst.CSTNode]:
    for argument in node.args:
        if argument.keyword is not None:
            yield node.with_changes(args=[one for one in node.args if one is not argument])


def _word_changed(node: cst.BaseString) -> Iterable[cst.CSTNode]:
    if isinstance(node, cst.SimpleString) and _WORD.match(node.value):
        yield next(iter(mutators.operator_string(node)))
