"""What a run shows while it trains: pictures, in TensorBoard and as PNG."""

import logging

import tensorflow as tf

from patchvae_tf import runs, visualization

_PICTURED_EPOCHS = 100


class Pictures:
    """Writes reconstructions and occurrence maps of some images.

    Args:
        model: an `UnsupervisedModel`.
        images: uint8 [n, H, W, channels].
        run_dir: pathlib.Path; PNG files go into its `pictures/`.
        epochs: int, of the whole run: of very many, `_PICTURED_EPOCHS` at most are pictured, the
            last one among them.
        shown_channels: as of `visualization.channels_shown`.
    """

    def __init__(self, model, images, run_dir, epochs, shown_channels=None):
        self._shown_channels = shown_channels
        self._epochs = epochs
        self._images = tf.image.convert_image_dtype(images, tf.float32)
        self._call = tf.function(lambda images: model(images), autograph=False)
        self._folder = run_dir / "pictures"

    def write(self, epoch: int, step: int, record: dict) -> None:
        """Draws the model as it is; the newest PNG replaces the one before.

        Training goes on where that fails.
        """
        del record
        if epoch % -(-self._epochs // _PICTURED_EPOCHS) and epoch != self._epochs:
            return
        try:
            with visualization.channels_shown(self._shown_channels):
                self._write(step)
        except Exception as error:
            logging.getLogger("patchvae_tf").warning(
                "no pictures of epoch %d: %s: %s", epoch, type(error).__name__, error
            )

    def _write(self, step):
        outputs = self._call(self._images)
        pictures = {
            "reconstructions": visualization.reconstruction_grid(
                self._images, outputs["reconstruction"]
            )
        }
        if "occurrence" in outputs:
            pictures["occurrence"] = visualization.occurrence_grid(
                self._images, outputs["occurrence"]
            )
        self._folder.mkdir(exist_ok=True)
        for name, picture in pictures.items():
            tf.summary.image(name, picture[tf.newaxis], step=step)
            with runs.replaced_when_whole(self._folder / f"{name}.png") as temporary:
                temporary.write_bytes(tf.io.encode_png(picture).numpy())
