import asyncio
import subprocess
import sys
import threading

import pytest

from locksmith.util.threads import in_thread


def test_the_result_of_the_work_comes_back():
    assert asyncio.run(in_thread(lambda: 6 * 7, limit=5)) == 42


def test_what_the_work_raises_comes_back():
    def work():
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        asyncio.run(in_thread(work, limit=5))


def test_the_work_runs_beside_the_loop_in_a_daemon_thread():
    async def story():
        release = threading.Event()

        def work():
            return release.wait(5), threading.current_thread().daemon

        call = asyncio.create_task(in_thread(work, limit=5))
        await asyncio.sleep(0)
        release.set()  # reached while the work blocks
        return await call

    assert asyncio.run(story()) == (True, True)


def test_work_that_hangs_is_left_behind_and_its_late_result_is_dropped():
    async def story():
        release, ended = threading.Event(), threading.Event()
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

        def work():
            release.wait(5)
            ended.set()

        with pytest.raises(TimeoutError):
            await in_thread(work, limit=0.01)
        release.set()
        await in_thread(lambda: ended.wait(5), limit=5)
        await in_thread(lambda: None, limit=5)  # what the first posted has been looked at by now
        return complaints

    assert asyncio.run(story()) == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_result_after_the_loop_is_closed_disturbs_nobody(fails):
    # A thread that dies of an exception would be a warning, and so an error of this test.
    release = threading.Event()
    threads: list[threading.Thread] = []

    def work():
        threads.append(threading.current_thread())
        release.wait(5)
        if fails:
            raise LookupError

    with pytest.raises(TimeoutError):
        asyncio.run(in_thread(work, limit=0.01))
    release.set()
    threads[0].join(5)
    assert not threads[0].is_alive()


async def test_a_cancelled_call_ends_at_once():
    release = threading.Event()
    call = asyncio.create_task(in_thread(lambda: release.wait(5), limit=60))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not release.is_set()
    release.set()


def test_the_end_of_the_process_does_not_wait_for_work_that_hangs():
    story = (
        "import asyncio, time\n"
        "from locksmith.util.threads import in_thread\n"
        "try: asyncio.run(in_thread(lambda: time.sleep(60), limit=0.01))\n"
        "except TimeoutError: print('left')\n"
    )
    ended = subprocess.run([sys.executable, "-c", story], timeout=10, capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("left\n", "")
