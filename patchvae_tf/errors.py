"""The errors whose message is for the user: one line, without a stack trace on the command line."""


class InputError(ValueError):
    """Bad input from the user: a flag, a data set, a folder, a file.

    The message says what came, what was expected and how to mend it, in one line. Command-line
    programs print it without a stack trace; from Python it is an ordinary `ValueError`.
    """


class RunError(RuntimeError):
    """A run that cannot go on: a loss that is not finite, no checkpoint that can be read, no space.

    The message says what happened, what is safe, and how to go on, in one line.
    """


class WorkerLostError(RunError):
    """A run on several machines that has lost one of them."""
