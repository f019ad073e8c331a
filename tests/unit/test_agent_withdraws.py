"""What is left when the loop takes a request back: users who were told, and what the journal says from then on."""

from dataclasses import replace

from locksmith.snapshot import Denied, Done
from tests.unit.test_agent import DENIED, START, Bench, for_a_while
from tests.unit.test_agent_ends import Users


def test_users_who_were_warned_are_told_when_the_reboot_is_called_off():
    users = Users()
    answers = [None, None, Denied("freeze", "frozen", called_off=True)]

    def answer():
        return answers.pop(0) if answers else DENIED

    class Warned(Bench):
        def agent(self):
            agent = super().agent()
            agent._around = replace(agent._around, users=users)
            return agent

    bench = Warned(does={"request": answer})
    for_a_while(bench, 180)
    assert users.told[:2] == ["warned", "called off"]
    assert "withdraw" in bench.calls


def test_a_reboot_that_the_group_remembers_is_written_down_here_too():
    done = Done("1.2.3", START)
    bench = Bench(does={"request": lambda: Denied("repeated", "it has rebooted for 1.2.3 already", done=done)})
    for_a_while(bench, 3)
    assert bench.calls == ["request", "withdraw"]
    assert bench.journal.read().done == done
