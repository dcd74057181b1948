"""How a command meets its user: one line for an error, and a stop that loses nothing."""

import contextlib
import logging
import os
import signal
import sys

from absl import app
from absl import logging as absl_logging

from patchvae_tf.errors import InputError, RunError


class Stop(Exception):  # noqa: N818 (nothing went wrong)
    """Ctrl-C or SIGTERM, with nothing more to save. `code` is the exit status."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class StopRequest:
    """Ctrl-C and SIGTERM. Inside `deferred()` they are noted in `requested`; outside they stop.

    A second signal stops at once, even inside.
    """

    def __init__(self):
        self.requested = None
        self._deferring = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number, frame):
        if self._deferring and self.requested is None:
            self.requested = signal.Signals(number)
            return
        raise Stop(128 + number, f"stopped by {signal.Signals(number).name}")

    @contextlib.contextmanager
    def deferred(self):
        """A block that looks at `requested` itself, between two steps."""
        self._deferring = True
        try:
            yield self
        finally:
            self._deferring = False


def run(main, flags_parser):
    """Runs `main(stop_request)` as the command: quiet TensorFlow, one-line errors, exit status."""
    # Before TensorFlow is imported: its notes about the processor and absent GPUs help nobody.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    absl_logging.set_verbosity(absl_logging.ERROR)
    absl_logging.use_python_logging()
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, force=True)

    def guarded(argv):
        del argv
        try:
            main(StopRequest())
        except (InputError, RunError) as error:
            sys.exit(f"error: {error}")
        except Stop as stop:
            print(f"\n{stop}", file=sys.stderr)
            sys.exit(stop.code)

    # Flags have their own one-line errors; a wrong combination must have one too.
    try:
        app.run(guarded, flags_parser=flags_parser)
    except InputError as error:
        sys.exit(f"error: {error}")
