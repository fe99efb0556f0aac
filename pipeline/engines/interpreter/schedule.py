"""The schedule: what is to be done runs in a few threads, what follows from it in the one that waits for them."""

import heapq
import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

POLL_SECONDS = 0.2  # at which a pause looks whether the run was stopped


class Schedule:
    """Runs work side by side and calls what is to follow; only work runs in threads of their own.

    Nothing here or above needs a lock, since all that decides what runs is called by run(), one after the other.
    """

    def __init__(self, slots: int, is_stopped: Callable[[], bool], stop: Callable[[], None]):
        """Make a schedule.

        Args:
            slots: How much work may run at once.
            is_stopped: Whether no work is to start any more; pauses end early, then.
            stop: Ends what work waits for, where an interrupt ends the schedule.
        """
        self._slots = slots
        self._is_stopped, self._stop = is_stopped, stop
        self._actions: deque[Callable[[], None]] = deque()
        self._ready: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()
        self._pauses: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._work: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._n_running = 0
        self.error: BaseException | None = None  # the first that work has raised; no work starts after it

    def soon(self, action: Callable[[], None]) -> None:
        """Call something next: not at once, so that a chain of what follows does not nest."""
        self._actions.append(action)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call something after a pause."""
        heapq.heappush(self._pauses, (time.monotonic() + seconds, next(self._numbers), action))

    def work(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do something in a thread as soon as a slot is free, the first that came first.

        Args:
            work: What to do.
            then: Is called with what it returns.
        """
        self._ready.append((work, then))

    def run(self) -> None:
        """Do all there is to do, and what follows from it.

        Raises:
            BaseException: the first that work has raised, once what ran beside it has ended.
        """
        try:
            while True:
                while self._actions:
                    self._actions.popleft()()
                self._start()
                if self._actions:
                    continue
                if not self._n_running and not self._pauses:
                    break
                self._wait()
        except BaseException:
            self._stop()
            raise
        finally:
            for _ in self._threads:
                self._work.put(None)
            for thread in self._threads:
                thread.join()
        if self.error:
            raise self.error

    def _start(self) -> None:
        while self._ready and self._n_running < self._slots:
            if self.error:
                self._ready.clear()
                return
            if self._n_running == len(self._threads):
                thread = threading.Thread(target=self._serve, daemon=True)
                thread.start()
                self._threads.append(thread)
            self._n_running += 1
            self._work.put(self._ready.popleft())

    def _wait(self) -> None:
        """Wait until work has ended or a pause is over."""
        timeout = None
        if self._pauses:
            if self.error or self._is_stopped():
                self._pauses = [(0, number, action) for _, number, action in sorted(self._pauses)]
            timeout = max(0.0, min(POLL_SECONDS, self._pauses[0][0] - time.monotonic()))
        try:
            then, result, error = self._done.get(timeout=timeout)
        except queue.Empty:
            if self._pauses[0][0] <= time.monotonic():
                action = heapq.heappop(self._pauses)[2]
                if not self.error:
                    self.soon(action)
            return
        self._n_running -= 1
        if error:
            self.error = self.error or error
        else:
            self.soon(lambda: then(result))

    def _serve(self) -> None:
        while given := self._work.get():
            work, then = given
            try:
                self._done.put((then, work(), None))
            except BaseException as error:  # the waiting thread raises it
                self._done.put((then, None, error))
