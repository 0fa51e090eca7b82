"""Signals at inconvenient moments."""

import signal
import subprocess
import sys


def test_signals_at_the_very_end():
    """A signal that arrives while the interpreter ends, after everything was made, does not change the exit status."""
    code = """
import os, signal
from bgnb._util.signals import ended_by_signals

class Last:
    def __del__(self, kill=os.kill, process=os.getpid(), numbers=(signal.SIGTERM, signal.SIGHUP, signal.SIGINT)):
        for number in numbers:
            kill(process, number)

last = Last()
with ended_by_signals():
    print("made", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "made\n", "")


def test_signals_in_callbacks():
    """A signal during a callback of the garbage collector, from which no exception is raised, ends the command as well."""
    code = """
import os, signal, time, weakref
from bgnb._util.signals import ended_by_signals

class Collected:
    pass

def callback(_):
    os.kill(os.getpid(), signal.SIGTERM)
    sum(range(1000))

with ended_by_signals():
    collected = Collected()
    reference = weakref.ref(collected, callback)
    del collected
    time.sleep(60)
    print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    interrupted = "Interrupted; unfinished output is removed.\n"
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "", interrupted)


def test_signals_whose_exception_is_lost():
    """A signal is received again if its exception was caught, as by libraries while they are imported."""
    code = """
import os, signal, time
from bgnb._util.signals import ended_by_signals

with ended_by_signals():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))
    except BaseException:
        pass
    time.sleep(60)
    print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    interrupted = "Interrupted; unfinished output is removed.\n"
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, "", interrupted)


def test_unfinished_coroutines_are_not_named():
    """Coroutines that libraries leave unfinished show no warning at the end."""
    code = """
import os, signal, time
from bgnb._util.signals import ended_by_signals

async def left():
    pass

kept = [left()]
with ended_by_signals():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "Interrupted; unfinished output is removed.\n")


def test_long_cleaning_up():
    """A single signal does not interrupt the cleaning up after it, however long it takes."""
    code = """
import os, signal, time
from contextlib import contextmanager
from bgnb._util.signals import ended_by_signals

@contextmanager
def cleaning():
    try:
        yield
    finally:
        try:
            raise OSError
        except OSError:
            time.sleep(2)
        print("cleaned up", flush=True)

with ended_by_signals():
    with cleaning():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            sum(range(1000))
        finally:
            time.sleep(2)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    interrupted = "Interrupted; unfinished output is removed.\n"
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, "cleaned up\n", interrupted)


def test_signals_that_arrive_together():
    """The second of two signals, as batch systems send them, does not interrupt the cleaning up after the first."""
    code = """
import os, signal
from bgnb._util.signals import ended_by_signals

numbers = signal.SIGINT, signal.SIGTERM
with ended_by_signals():
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        for number in numbers:
            os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        sum(range(1000))
    finally:
        sum(range(1000))
        print("cleaned up", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    interrupted = "Interrupted; unfinished output is removed.\n"
    assert (done.stdout, done.stderr) == ("cleaned up\n", interrupted)
    assert done.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)  # systems deliver both in any order


def test_signals_are_held_while_other_threads_publish():
    """A second signal is held in the main thread although another thread has written an output meanwhile."""
    code = """
import os, signal
from threading import Thread
from bgnb._util.signals import ended_by_signals, held_signals

def publish():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])  # as in threads that were started before
    with held_signals():
        pass
    os.kill(os.getpid(), signal.SIGTERM)

with ended_by_signals(), held_signals():
    thread = Thread(target=publish)
    thread.start()
    thread.join()
    sum(range(1000))
    print("ended", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    interrupted = "Interrupted; unfinished output is removed.\n"
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "ended\n", interrupted)


def test_signal_after_a_held_one():
    """A second signal does not interrupt the cleaning up after one that another thread received while signals were held."""
    code = """
import os, signal
from threading import Thread
from bgnb._util.signals import ended_by_signals, held_signals

def receive():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    os.kill(os.getpid(), signal.SIGTERM)

with ended_by_signals():
    try:
        with held_signals():
            thread = Thread(target=receive)
            thread.start()
            thread.join()
            sum(range(1000))
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))
        print("cleaned up", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    interrupted = "Interrupted; unfinished output is removed.\n"
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "cleaned up\n", interrupted)
