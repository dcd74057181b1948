"""How a run is executed: nothing of it changes what is learned, but for rounding."""

import dataclasses
import re

from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Execution(Settings):
    """Settings of every command that trains; a run may go on with others."""

    devices: str | None = setting(
        None,
        "Run",
        "what computes: gpu:N, or cpu:N for N logical processors, to try replicas anywhere "
        "(default: every GPU, else the processor)",
    )
    steps_per_execution: int = setting(
        1,
        "Run",
        "training steps that are run as one graph, to spare the host",
        minimum=1,
        rare=True,
    )
    xla: bool = setting(False, "Run", "compile the training step by XLA; for one device", rare=True)
    checkpoint_minutes: float = setting(
        10.0, "Run", "minutes between two checkpoints inside an epoch", minimum=0.0, rare=True
    )
    data_service: str | None = setting(
        None,
        "Run",
        "host:port of trainers.data_service, which then reads and decodes streamed images; several "
        "separated by commas",
        rare=True,
    )
    on_save_error: str = setting(
        "stop",
        "Run",
        "when a checkpoint cannot be written (a full disk): stop, or continue with a warning",
        choices=("stop", "continue"),
        rare=True,
    )

    def check(self) -> None:
        """Raises InputError for the first setting out of its range."""
        if self.devices is not None and not re.fullmatch(r"(cpu|gpu):[1-9]\d*", self.devices):
            raise InputError(
                "devices must be cpu:N or gpu:N, N their number. "
                f"Received: {self.devices!r}. Use e.g. cpu:2."
            )
        for address in self.data_services:
            if not re.fullmatch(r"[^:,\s]+:[1-9]\d*", address):
                raise InputError(
                    "data_service must be host:port, or several separated by commas. "
                    f"Received: {self.data_service!r}."
                )

    @property
    def data_services(self) -> tuple[str, ...]:
        """The addresses in `data_service`, a tuple of str."""
        return tuple(self.data_service.split(",")) if self.data_service else ()
