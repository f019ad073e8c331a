"""The answers to several keep-alives: each counts for a lease that was asked for, and for no other."""

import pytest

from locksmith.store.etcd3_wire import kept_alive
from locksmith.util.jsonread import BadJsonError


def test_some_answers_count_and_one_of_another_lease_does_not():
    answers = [{"ID": "5", "TTL": "900"}, {"ID": "6"}, {"ID": "9", "TTL": "900"}]
    assert kept_alive(answers, [5, 6, 7]) == {5: 900, 6: 0}


@pytest.mark.parametrize("answers", [[], [{"ID": "9", "TTL": "900"}], [{"ID": "5", "TTL": []}]])
def test_answers_that_say_nothing_of_what_was_asked_are_none(answers):
    with pytest.raises(BadJsonError):
        kept_alive(answers, [5, 6])
