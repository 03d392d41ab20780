from __future__ import annotations

import subprocess
import sys

# Each is a process of its own: signals and their handlers are a process's.
BEGIN = """
import os, signal
from launcher.cli.asked import asked
from launcher.cli.interrupts import Interrupted, interruptible
def state():
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1, signal.SIGTSTP)
    return [signal.getsignal(each) for each in numbers], signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""


def said(code: str) -> str:
    done = subprocess.run(
        (sys.executable, "-c", BEGIN + code), capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_signals_mean_the_same_before_between_and_after_questions() -> None:
    code = """
before = state()
with asked(dict(os.environ)) as ask:
    print(state() == before, end=" ")
    print(ask(("echo", "yes")).stdout.strip(), end=" ")
    print(state() == before, end=" ")
print(state() == before)
"""
    assert said(code) == "True yes True True"


def test_a_tool_gets_nothing_of_the_launcher_s_own() -> None:
    code = """
with asked({"PATH": os.environ["PATH"], "LAUNCHER_JOB": "secret", "MINE": "1"}) as ask:
    print(ask(("sh", "-c", "echo $MINE ${LAUNCHER_JOB-unset} $MORE"), env={"MORE": "2"}).stdout)
"""
    assert said(code) == "1 unset 2"


def test_a_signal_while_a_tool_is_asked_interrupts() -> None:
    code = """
try:
    with interruptible(), asked(dict(os.environ)) as ask:
        ask(("sh", "-c", "kill -TERM $PPID; exec sleep 1000"), 60)
except Interrupted as stop:
    print(stop.number)
"""
    assert said(code) == "15"


def test_no_signal_is_lost_however_near_to_the_end_of_a_tool_it_comes() -> None:
    code = """
came = 0
for _ in range(50):
    try:
        with interruptible(), asked(dict(os.environ)) as ask:
            ask(("sh", "-c", "kill -INT $PPID"), 60)
    except Interrupted as stop:
        came += stop.number == signal.SIGINT
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
print(came)
"""
    assert said(code) == "50"


def test_a_signal_that_somebody_answers_comes_to_him_when_the_tool_is_gone() -> None:
    code = """
heard = []
signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
with asked(dict(os.environ)) as ask:
    answer = ask(("sh", "-c", "kill -USR1 $PPID; exec sleep 1000"), 60)
print(answer.fault, len(heard))
"""
    assert said(code) == "was interrupted 1"


def test_a_window_that_changes_its_size_interrupts_nothing() -> None:
    code = """
with asked(dict(os.environ)) as ask:
    print(ask(("sh", "-c", "kill -WINCH $PPID; kill -CONT $PPID; echo fine"), 60).stdout)
"""
    assert said(code) == "fine"


def test_a_tool_that_is_not_there_is_an_answer() -> None:
    code = """
with asked({}) as ask:
    print(ask(("no-such-tool",)).fault)
"""
    assert said(code).startswith("cannot be started")


def test_a_signal_while_the_rest_of_the_output_is_waited_for_is_not_lost() -> None:
    code = """
try:
    with interruptible(), asked(dict(os.environ)) as ask:
        ask(("sh", "-c", "parent=$PPID; (sleep 0.2; kill -TERM $parent; exec sleep 1000) & echo yes"), 60)
except Interrupted as stop:
    print(stop.number)
"""
    assert said(code) == "15"
