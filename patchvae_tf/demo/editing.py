"""A part of an image's code changed: left out, moved, or with the look that it has elsewhere."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Change:
    """What is to become of one part.

    Attributes:
        part: int.
        occurs: bool, False to leave it out.
        rows, columns: int, how far down and to the right it moves, in places.
        look: float32 [d_p], its appearance in another image, or None for its own.
    """

    part: int
    occurs: bool = True
    rows: int = 0
    columns: int = 0
    look: np.ndarray | None = None


def latent(
    occurrence: np.ndarray, appearance: np.ndarray, change: Change | None = None
) -> np.ndarray:
    """The latent map of a code, changed, as the signature `decode` takes it.

    Args:
        occurrence: float32 [h, w, N].
        appearance: float32 [N, d_p].
        change: Change; None for the code as it is.

    Returns:
        float32 [h, w, N * d_p]. What leaves the grid is lost; where nothing comes in the part does
        not occur.
    """
    from patchvae_tf.visualization.swaps import shifted

    if change is not None:
        occurrence, appearance = occurrence.copy(), appearance.copy()
        places = occurrence[..., change.part]
        occurrence[..., change.part] = (
            shifted(places, change.rows, change.columns) if change.occurs else 0.0
        )
        if change.look is not None:
            appearance[change.part] = change.look
    code = occurrence[..., np.newaxis] * appearance  # [h, w, N, d_p]
    return code.reshape([*occurrence.shape[:2], -1])
