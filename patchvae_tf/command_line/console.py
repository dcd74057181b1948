"""How a command meets its user: one line for an error, and a stop that loses nothing."""

import codecs
import dataclasses
import errno
import io
import logging
import os
import sys
import types
import typing
import warnings
from collections.abc import Callable

import tqdm
from absl import app, flags
from absl import logging as absl_logging

from patchvae_tf.command_line import config_flags
from patchvae_tf.errors import InputError, RunError, WorkerLostError
from patchvae_tf.interruption import GO_ON, Stop, StopRequest
from patchvae_tf.settings import recipes, unsupervised

# For streams that cannot show them, as under LC_ALL=C.
_PLAIN = {"×": "x", "φ": "phi", "β": "beta", "…": "...", "–": "-", "’": "'", "Σ": "sum", "≥": ">="}


def _in_plain_characters(error):
    """Handles an error of encoding: what has no plain form is escaped."""
    text = error.object[error.start : error.end]
    plain = "".join(
        _PLAIN.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in text
    )
    return plain, error.end


def show_anything(*streams: typing.TextIO) -> None:
    """From now on no character stops these text streams, whatever their encoding."""
    codecs.register_error("plain", _in_plain_characters)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


class _BesideBars(logging.Handler):
    """Lines above progress bars: warnings on stderr; facts on stdout, each once."""

    def __init__(self):
        super().__init__()
        self._facts = set()

    def emit(self, record):
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            tqdm.tqdm.write(f"{record.levelname}: {message}", file=sys.stderr)
        elif message not in self._facts:  # a data set is opened several times
            self._facts.add(message)
            tqdm.tqdm.write(message, file=sys.stdout)
            sys.stdout.flush()


def _show_messages():
    """The package's own messages reach the user, whatever absl does with those of others."""
    handler = _BesideBars()
    own = logging.getLogger("patchvae_tf")
    own.setLevel(logging.INFO)
    own.addHandler(handler)
    own.propagate = False


def run(
    main: Callable, usage: str, *kinds: type | types.ModuleType, takes_command: bool = False
) -> None:
    """Runs a command: quiet TensorFlow, one-line errors, exit status.

    Args:
        main: function (stop_request, *settings): an instance of each class in `kinds`, a dict for
            `unsupervised`; and the words after `--` where `takes_command`.
        usage: what the command does and examples.
        *kinds: dataclasses of `setting`s, each field a flag; or the module `settings.unsupervised`
            for the settings of every model.
        takes_command: whether what follows `--` is another command.
    """
    show_anything(sys.stdout, sys.stderr)
    # Before TensorFlow is imported: its notes about the processor and absent GPUs help nobody.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Commands show no window, and matplotlib's import fails where another backend is not known.
    os.environ["MPLBACKEND"] = "agg"
    absl_logging.set_verbosity(absl_logging.ERROR)
    # Even where warnings are errors (PYTHONWARNINGS): no user can mend what these do.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(keras|tensorflow)\b")
    by_kind = [_fields(kind) for kind in kinds]
    fields = [field for group in by_kind for field in group]
    config_flags.define(fields)

    def guarded(rest):
        _show_messages()  # only now: absl sets its own handler and level when it begins
        stop_request = StopRequest()
        try:
            given = [config_flags.given(group) for group in by_kind]
            settings = [
                values if kind is unsupervised else kind(**values)
                for kind, values in zip(kinds, given, strict=True)
            ]
            main(stop_request, *settings, *([rest[1:]] if takes_command else []))
        except WorkerLostError as error:
            # At a usual exit TensorFlow would wait for the lost worker.
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(1)
        except (InputError, RunError) as error:
            sys.exit(f"error: {error}")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                sys.exit(f"error: {error}. Make room: {GO_ON} from the last checkpoint.")
            if error.filename is None:
                raise
            sys.exit(f"error: {error.filename}: {error.strerror}. Mend that, or name another.")
        except (Stop, Exception) as error:
            stop = stop_request.raised if isinstance(error, Exception) else error
            if stop is None:
                raise
            print(f"\n{stop}", file=sys.stderr)
            sys.exit(stop.code)

    def shown(field):
        default = shown_default(field)
        notes = [f"default: {default}"] if default else []
        return "; ".join([*filter(None, [shown_models(field)]), *notes])

    parser = config_flags.parser(usage, fields, shown, takes_command)
    try:
        app.run(guarded, flags_parser=parser)
    except flags.Error as error:
        sys.exit(f"error: {str(error).splitlines()[-1]} (--help shows all flags)")
    except BrokenPipeError:
        # Whoever read our output has gone, as in `--help | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fields(kind):
    if kind is unsupervised:
        return list(unsupervised.all_fields().values())
    return list(dataclasses.fields(kind))


def shown_models(field: dataclasses.Field) -> str:
    """What the help says of a setting that does not apply to all models; "" for the others."""
    models = unsupervised.models_of(field.name) if _is_unsupervised(field) else []
    return ", ".join(models) if len(models) < len(unsupervised.CONFIGS) else ""


def _is_unsupervised(field):
    own = unsupervised.all_fields().get(field.name)
    return own is not None and own.metadata is field.metadata


def shown_default(field: dataclasses.Field) -> str:
    """What the help says of a setting's default; "" where there is none, or its text says it."""
    if _is_unsupervised(field) and recipes.varies(field.name, field.default):
        return recipes.shown(field.name, field.default)
    if field.default is None:
        return ""
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
