"""Ctrl-C and SIGTERM: a stop that loses nothing."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

GO_ON = "the same command goes on"
_FROM_HERE = f"{GO_ON} from here"


class Stop(BaseException):
    """Ctrl-C or SIGTERM. Like KeyboardInterrupt no Exception, so that nobody takes it for one."""

    def __init__(self, number, progress, advice=_FROM_HERE):
        by = f"by {number.name}" if number else "with another worker"
        super().__init__(f"stopped {by} {progress}: {advice}.")
        self.code = 128 + (number or signal.SIGTERM)


class StopRequest:
    """Ctrl-C and SIGTERM. Inside `deferred()` they are noted in `requested`; outside they stop.

    A second signal stops at once, even inside: what was saved before stays good. `raised` is the
    Stop by which it did: code of other languages that was interrupted may make another error of it.
    """

    def __init__(self):
        self.requested = None
        self.raised = None
        self._requested_at = 0.0
        self._deferring = False
        self._saves = False  # whether there was ever anything to go on from
        self._before = {}
        self.install()

    def install(self) -> None:
        """Takes the signals; again after TensorFlow has joined a cluster, which takes SIGTERM.

        Only a process's main thread gets signals: elsewhere it does nothing.
        """
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.signal(number, self._on_signal)
                self._before.setdefault(number, before)

    def restore(self) -> None:
        """Gives the signals back to whoever had them."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}

    def _on_signal(self, number, frame):
        del frame
        number = signal.Signals(number)
        if self._deferring and self.requested is None:
            self.requested, self._requested_at = number, time.monotonic()
            # Not by `print`: the signal may have come in the middle of one.
            os.write(sys.stderr.fileno(), b"\nsaving, then stopping ...\n")
        # Some programs signal a process and its group too: the same request, not a second one.
        elif not self._deferring or time.monotonic() - self._requested_at > 1.0:
            advice = _FROM_HERE if self._saves else "give the same command again"
            self.raised = Stop(number, "before it was done", advice)
            raise self.raised

    @contextlib.contextmanager
    def deferred(self) -> Iterator["StopRequest"]:
        """A block that saves its work, and looks at `requested` itself, between two steps."""
        self._deferring = self._saves = True
        try:
            yield self
        finally:
            self._deferring = False
