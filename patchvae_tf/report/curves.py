"""The curves of a run, as its folder tells them."""

import json
import pathlib

import numpy as np

from patchvae_tf.errors import InputError

_GROUP = "train/"  # of the curves that the loop writes for TensorBoard


def are_recorded(run_dir: pathlib.Path) -> bool:
    """Whether a run has a record that curves are made of."""
    return (run_dir / "metrics.jsonl").exists()


def read(run_dir: pathlib.Path) -> tuple[dict, dict]:
    """Loss terms over the steps.

    Args:
        run_dir: pathlib.Path.

    Returns:
        (training, held_out): dicts name -> (steps, values), training's as often as TensorBoard has
        them, `images_per_second` and held-out images once an epoch.

    Raises:
        InputError: the record cannot be read, or no epoch is in it.
    """
    path = run_dir / "metrics.jsonl"
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error})") from error
    if not records:
        raise InputError(f"{path} has no epoch")
    steps = [record["step"] for record in records]
    by_epoch = {
        name: (steps, [record.get(name, np.nan) for record in records])
        for name in records[-1]
        if name not in ("epoch", "step")
    }
    held_out = {name[4:]: curve for name, curve in by_epoch.items() if name.startswith("val_")}
    training = {name: curve for name, curve in by_epoch.items() if not name.startswith("val_")}
    if len(records) == 1:
        del training["images_per_second"]  # one point is no curve
    return {**training, **_from_tensorboard(run_dir / "tensorboard")}, held_out


def _from_tensorboard(folder):
    """name -> (steps, values) of the training curves; {} where there are none."""
    if not folder.is_dir():
        return {}
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "images": 1})
    events.Reload()
    curves = {}
    for tag in events.Tags()["tensors"]:
        if tag.startswith(_GROUP):
            # A resumed run writes some steps again: the later ones hold.
            points = {
                event.step: float(tf.make_ndarray(event.tensor_proto))
                for event in events.Tensors(tag)
            }
            curves[tag.removeprefix(_GROUP)] = tuple(zip(*sorted(points.items()), strict=True))
    return curves
