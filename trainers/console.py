"""How a command meets its user: one line for an error, and a stop that loses nothing."""

import contextlib
import errno
import importlib
import logging
import os
import signal
import sys
import tempfile
import time

import tqdm
from absl import app, flags
from absl import logging as absl_logging

from patchvae_tf.errors import InputError, RunError, WorkerLostError

_GO_ON = "the same command goes on"


class Stop(BaseException):
    """Ctrl-C or SIGTERM. Like KeyboardInterrupt no Exception, so that nobody takes it for one."""

    def __init__(self, number, progress):
        by = f"by {number.name}" if number else "with another worker"
        super().__init__(f"stopped {by} {progress}: {_GO_ON} from here.")
        self.code = 128 + (number or signal.SIGTERM)


class StopRequest:
    """Ctrl-C and SIGTERM. Inside `deferred()` they are noted in `requested`; outside they stop.

    A second signal stops at once, even inside: what was saved before stays good.
    """

    def __init__(self):
        self.requested = None
        self._requested_at = 0.0
        self._deferring = False
        self.install()

    def install(self):
        """Takes the signals; again after TensorFlow has joined a cluster, which takes SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number, frame):
        del frame
        number = signal.Signals(number)
        if self._deferring and self.requested is None:
            self.requested, self._requested_at = number, time.monotonic()
            # Not by `print`: the signal may have come in the middle of one.
            os.write(sys.stderr.fileno(), b"\nsaving, then stopping ...\n")
        # Some programs signal a process and its group too: the same request, not a second one.
        elif not self._deferring or time.monotonic() - self._requested_at > 1.0:
            raise Stop(number, "before it was done")

    @contextlib.contextmanager
    def deferred(self):
        """A block that looks at `requested` itself, between two steps."""
        self._deferring = True
        try:
            yield self
        finally:
            self._deferring = False


def import_tensorflow():
    """Imports TensorFlow without the notes that it prints past its own log level.

    They are about the processor and absent GPUs, and help nobody. If the import fails, all that it
    printed is shown.
    """
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            importlib.import_module("tensorflow")
        except BaseException:
            held_back.seek(0)
            os.write(shown, held_back.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)


class _BesideBars(logging.Handler):
    """Lines on stderr, above progress bars."""

    def emit(self, record):
        tqdm.tqdm.write(self.format(record), file=sys.stderr)


def _show_warnings():
    """The package's own warnings reach the user, whatever absl does with those of others."""
    handler = _BesideBars()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    own = logging.getLogger("patchvae_tf")
    own.setLevel(logging.WARNING)
    own.addHandler(handler)
    own.propagate = False


def run(main, flags_parser):
    """Runs `main(stop_request)` as the command: quiet TensorFlow, one-line errors, exit status."""
    # Before TensorFlow is imported: its notes about the processor and absent GPUs help nobody.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    absl_logging.set_verbosity(absl_logging.ERROR)

    def guarded(argv):
        del argv
        _show_warnings()  # only now: absl sets its own handler and level when it begins
        try:
            main(StopRequest())
        except WorkerLostError as error:
            # At a usual exit TensorFlow would wait for the lost worker.
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(1)
        except (InputError, RunError) as error:
            sys.exit(f"error: {error}")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            sys.exit(f"error: {error}. Make room: {_GO_ON} from the last checkpoint.")
        except Stop as stop:
            print(f"\n{stop}", file=sys.stderr)
            sys.exit(stop.code)

    try:
        app.run(guarded, flags_parser=flags_parser)
    except flags.Error as error:
        sys.exit(f"error: {str(error).splitlines()[-1]} (--help shows all flags)")
    except BrokenPipeError:
        # Whoever read our output has gone, as in `--help | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
