"""The machines of a run: what `TF_CONFIG` says, and what their workers do together."""

import contextlib
import dataclasses
import json
import os
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence

from patchvae_tf.errors import InputError, RunError, WorkerLostError

if typing.TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run, one a machine; by default this one alone.

    Attributes:
        addresses: `host:port` of each worker, the chief first; empty for a run on one machine.
        index: int, which of them this process is; the chief, 0, keeps the run's folder.
    """

    addresses: tuple[str, ...] = ()
    index: int = 0

    @property
    def workers(self) -> int:
        """int, how many there are."""
        return max(1, len(self.addresses))

    @property
    def is_chief(self) -> bool:
        """Whether this process keeps the run's folder."""
        return self.index == 0

    def rows(self, batch_size: int) -> range:
        """The rows of each global batch that this worker takes, a range."""
        local = batch_size // self.workers
        return range(self.index * local, (self.index + 1) * local)


def tf_config(addresses: Iterable[str], index: int) -> str:
    """The value of `TF_CONFIG` for one worker, a JSON string."""
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": task})


def from_environment(environment: Mapping[str, str] = os.environ) -> Cluster:
    """Reads `TF_CONFIG`; needs no TensorFlow.

    Raises:
        InputError: it does not describe workers, or not which one this is.
    """
    text = environment.get("TF_CONFIG")
    if not text:
        return Cluster()
    expected = (
        'expected {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", '
        '"index": 0}}'
    )
    try:
        content = json.loads(text)
        roles, task = content["cluster"], content["task"]
        chiefs, workers = list(roles.get("chief", [])), list(roles.get("worker", []))
        addresses = tuple(map(str, chiefs + workers))
        index = int(task["index"]) + (len(chiefs) if task["type"] == "worker" else 0)
        known = task["type"] in ("chief", "worker") and set(roles) <= {"chief", "worker"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"TF_CONFIG cannot be understood ({error!r}): {expected}.") from error
    if not known or not 0 <= index < len(addresses):
        raise InputError(
            f"TF_CONFIG makes this process {task['type']} {task['index']} of {len(addresses)} "
            f"workers: {expected}, with roles `chief` and `worker` alone."
        )
    return Cluster(addresses, index) if len(addresses) > 1 else Cluster()


def refuse(cluster: Cluster, command: str) -> None:
    """Raises InputError where a command that runs on one machine is started on several."""
    if cluster.workers > 1:
        raise InputError(
            f"{command} runs on one machine, and TF_CONFIG names {cluster.workers} workers: "
            "unset TF_CONFIG."
        )


def summed(
    values: Sequence[float], cluster: Cluster, strategy: "tf.distribute.Strategy"
) -> "np.ndarray":
    """Sums numbers over the workers; every worker must call it, so it is a meeting point too.

    Args:
        values: numbers [n].
        cluster: Cluster.
        strategy: the run's `tf.distribute.Strategy`.
    """
    import tensorflow as tf

    replicas = strategy.num_replicas_in_sync // cluster.workers  # each gives its worker's values

    @tf.function(autograph=False)
    def reduced(values):
        everywhere = strategy.run(tf.identity, args=(values,))
        return strategy.reduce("SUM", everywhere, axis=None)

    return reduced(tf.constant(values, tf.float64)).numpy() / replicas


def wait_for_all(cluster: Cluster, strategy: "tf.distribute.Strategy") -> None:
    """Returns once every worker has come here."""
    if cluster.workers > 1:
        summed([0.0], cluster, strategy)


def check_same(
    name: str, value: float, cluster: Cluster, strategy: "tf.distribute.Strategy"
) -> None:
    """Raises RunError unless all workers have the same number."""
    mean = summed([value], cluster, strategy)[0] / cluster.workers
    if mean != value:
        raise RunError(
            f"the workers do not agree on the {name}: {value} on worker {cluster.index}, "
            f"{mean:g} on average. Put run_dir on a file system that all of them share."
        )


@contextlib.contextmanager
def lost_workers_named(cluster: Cluster) -> Iterator[None]:
    """Turns what TensorFlow raises when another worker is lost into a one-line WorkerLostError."""
    import tensorflow as tf

    lost = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
    try:
        yield
    except (*lost, tf.errors.DeadlineExceededError, tf.errors.InternalError) as error:
        if cluster.workers == 1:
            raise
        tasks = [index for index in range(cluster.workers) if f"/task:{index}" in str(error)]
        named = " and ".join(f"worker {i} ({cluster.addresses[i]})" for i in tasks)
        raise WorkerLostError(
            f"{named or 'another worker'} stopped, seen by worker {cluster.index}. Start all "
            "workers again: the same command goes on from the last checkpoint."
        ) from error
