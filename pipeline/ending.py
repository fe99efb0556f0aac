"""How a command ends: the first signal ends it, and all that come after are ignored."""

import _thread
import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

SIGNALS = {
    number: reason
    for name, reason in (
        ("SIGINT", "interrupted by Ctrl-C"),
        ("SIGTERM", "ended by SIGTERM"),
        ("SIGHUP", "ended by SIGHUP: its terminal was closed"),
    )
    if (number := getattr(signal, name, None))
}
EXIT_STATUS = 130
SECONDS = 1.5  # in which a command ends by itself after a signal


class Interrupted(BaseException):
    """A signal ends the command; the message says which. Unlike a KeyboardInterrupt no library takes it for its own."""


came = ""  # why the command ends, once a signal has come
is_told = False  # whether the user has been told so
_waiting: list[str] = []  # the reason, where what is done now is to be done to its end
_is_later = False
_actions: list[Callable[[str], object]] = []


def call(action: Callable[[str], object]) -> None:
    """Have something called with the reason as soon as a signal ends the command, in the main thread."""
    if action not in _actions:
        _actions.append(action)


def forget(action: Callable[[str], object]) -> None:
    """Have it called no more."""
    with contextlib.suppress(ValueError):
        _actions.remove(action)


@contextlib.contextmanager
def by_signals() -> Iterator[None]:
    """While this lasts, the first signal calls what is to be called then and raises Interrupted.

    A signal that is ignored when this begins stays so, as under nohup. Where the command has not ended a little later,
    since something took Interrupted or does not return, the process ends all the same.
    """

    def end(number: int, _: object) -> None:
        global came
        if came:  # the next may come before the lines below
            return
        came = SIGNALS[number]
        for each in handled:
            signal.signal(each, _nothing)  # no SIG_IGN, which Python complains of where the next is there already
        # the signal may have come while the main thread starts one: threading's own lock would be taken twice
        _thread.start_new_thread(_end_anyway, ())
        if _is_later:
            _waiting.append(came)
        else:
            _end(came)

    is_main = threading.current_thread() is threading.main_thread()
    former = {number: signal.getsignal(number) for number in SIGNALS} if is_main else {}
    handled = [number for number, handler in former.items() if handler != signal.SIG_IGN]
    for number in handled:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in handled:
            # once a signal came, none is let through any more, not even while the interpreter ends
            signal.signal(number, former[number] if signal.getsignal(number) is end else signal.SIG_IGN)


@contextlib.contextmanager
def later() -> Iterator[None]:
    """Let a signal that comes meanwhile end the command once this is over, which is short."""
    global _is_later
    _is_later = True
    try:
        yield
    finally:
        _is_later = False
        if _waiting:
            _end(_waiting.pop())


def _end(reason: str) -> NoReturn:
    for action in reversed(_actions):
        with contextlib.suppress(Exception):
            action(reason)
    raise Interrupted(reason)


def leave(status: int) -> int:
    """Return an exit status; after a signal end this process with it at once, without what the interpreter does then.

    The keeper ends what it has started.
    """
    if came:
        os._exit(status)
    return status


def exit_python(status: int) -> NoReturn:
    """End this process as Python does, but for freeing piece by piece what it holds, which the system does at once."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            stream.flush()
    os._exit(status)


def _nothing(*_: object) -> None:
    """One signal is enough."""


def told(message: str) -> None:
    """Keep in mind that the user has been told something; why the command ends is told once."""
    global is_told
    is_told |= bool(came) and came in message


def _end_anyway() -> None:
    time.sleep(SECONDS)
    if not is_told:
        with contextlib.suppress(OSError):
            os.write(2, f"Error: {came}.\n".encode())
    os._exit(EXIT_STATUS)
