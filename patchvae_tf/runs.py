"""The folder of a run: its settings, its lock and its record. Every file is whole or not there."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import tempfile
import typing
import weakref
from collections.abc import Iterator

from patchvae_tf.errors import InputError


@contextlib.contextmanager
def replaced_when_whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`, which takes `path`'s place if all goes well."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: pathlib.Path, values: dict) -> None:
    """Writes `values` to `path` as JSON, whole or not at all."""
    with replaced_when_whole(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_record(run_dir: pathlib.Path) -> dict | None:
    """What a run's folder tells of it, or None where it tells nothing.

    Args:
        run_dir: pathlib.Path.

    Returns:
        dict: `settings` of `config.json`, `data` of `data.json`, and `result` of `result.json`,
        which is None before the run's end.

    Raises:
        InputError: a file cannot be read.
    """
    settings, data = _read_json(run_dir / "config.json"), _read_json(run_dir / "data.json")
    if settings is None or data is None:
        return None
    return {"settings": settings, "data": data, "result": _read_json(run_dir / "result.json")}


def finished(run_dir: str | os.PathLike | None) -> pathlib.Path:
    """Returns the folder of a finished run as a path.

    Raises:
        InputError: no folder was named, or it holds no trained model.
    """
    if run_dir is None:
        raise InputError("run_dir is missing. Give the folder of a finished run.")
    run_dir = pathlib.Path(run_dir).expanduser()
    if (run_dir / "model.keras").is_file():
        return run_dir
    if not run_dir.is_dir():
        raise InputError(f"run_dir {run_dir} does not exist. Give the folder of a finished run.")
    if (run_dir / "config.json").exists():
        raise InputError(
            f"the run in {run_dir} has not finished: it has no model.keras. Give the command that "
            "began it once more, with the same run_dir, and this one when it is done."
        )
    raise InputError(
        f"run_dir {run_dir} holds no run: neither model.keras nor config.json is there. "
        "Give the folder of a finished run."
    )


def default_dir(config: typing.Any, *words: object) -> str:
    """A folder for these settings: the same command comes back to it, another gets its own.

    Args:
        config: dataclass with `dataset` and `to_json`.
        *words: what the name tells besides the data set.
    """
    settings = json.dumps(config.to_json(), sort_keys=True).encode()
    name = pathlib.PurePath(config.dataset.split(":")[0]).stem or "images"
    name = name.encode("utf-8", "replace").decode().replace("?", "_")  # TensorFlow writes UTF-8
    digest = hashlib.sha256(settings).hexdigest()[:6]
    return "-".join([f"runs/{name}", *map(str, words), digest])


def _read_json(path):
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"it holds a {type(values).__name__}, not settings by name")
    except (OSError, ValueError) as error:  # of JSON and of UTF-8 as well
        raise InputError(
            f"{path} cannot be read ({error}). Mend or remove it, or choose another folder."
        ) from error
    return values


class RunFolder:
    """A run's folder, locked until it is closed, or the object is gone; `with` closes it.

    A folder that it made goes with it if nothing was written there: a run that was refused before
    it began leaves none.

    Attributes:
        path: pathlib.Path of the folder.

    Args:
        path: where; made if it is not there.
        setting: str, what its user chose it by.
        writes: bool; False for a worker that is not the chief: it reads, takes no lock, and its
            records are dropped.

    Raises:
        InputError: the folder cannot be written, or another process runs in it.
    """

    def __init__(self, path, setting="run_dir", writes=True):
        self.path = pathlib.Path(path).expanduser()
        self._setting = setting
        self._writes = writes
        if not writes:
            return
        made = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
            self._lock = open(self.path / ".lock", "w")  # noqa: SIM115 (held for the run's life)
        except OSError as error:
            raise InputError(
                f"{setting} {self.path} cannot be written: {error.strerror}. "
                f"Choose another {setting}."
            ) from error
        try:
            # The system drops the lock with the process, however that ends.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise InputError(
                f"another process runs in {self.path}. Wait for it, or choose another {setting}."
            ) from error
        self._close = weakref.finalize(self, _release, self._lock, self.path if made else None)

    def close(self) -> None:
        """Gives the lock back; more than once does no harm."""
        if self._writes:
            self._close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    @property
    def result(self) -> dict | None:
        """The content of `result.json`, or None: the run has not finished."""
        return _read_json(self.path / "result.json")

    def check(self, name: str, values: dict, difference: str, advice: dict | None = None) -> None:
        """Checks that a JSON file, if it is there, holds these values.

        Args:
            name: str, the file's.
            values: dict that goes through JSON.
            difference: str, what another content means.
            advice: dict, name of a value -> what to say besides where it differs.

        Raises:
            InputError: the folder belongs to another run; what differs is named.
        """
        known = _read_json(self.path / name)
        if known is None:
            return
        differing = [key for key in {**known, **values} if known.get(key) != values.get(key)]
        if differing:
            differences = "; ".join(
                f"{key} is {_short(known.get(key))} there and {_short(values.get(key))} now"
                for key in differing
            )
            sentences = [
                f"{self.path} holds a run with {difference}: {differences}.",
                f"Use the same to go on with it, or choose another {self._setting}.",
                *(text for key, text in (advice or {}).items() if key in differing),
            ]
            raise InputError(" ".join(sentences))

    @property
    def last_metrics(self) -> dict:
        """The last line of `metrics.jsonl`, a dict."""
        return json.loads(
            (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        )

    def write(self, name: str, values: dict) -> None:
        """Writes a JSON file, whole or not at all."""
        if self._writes:
            write_json(self.path / name, values)

    def append_metrics(self, record: dict) -> None:
        """Adds a line to `metrics.jsonl`."""
        if not self._writes:
            return
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def drop_metrics_after(self, step: int) -> None:
        """Takes back the lines of `metrics.jsonl` that a resumed run writes again.

        A line that a kill left half-written goes too.
        """
        path = self.path / "metrics.jsonl"
        if not self._writes or not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
        with replaced_when_whole(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def _release(lock, made):
    """Gives a lock back; before, the folder `made` goes if the lock is all that is in it."""
    with contextlib.suppress(OSError):
        if made is not None and os.listdir(made) == [".lock"]:
            (made / ".lock").unlink()
            made.rmdir()
    lock.close()


def _short(value):
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
