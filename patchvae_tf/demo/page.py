"""A local page to try an exported model on one's own images."""

import dataclasses

from patchvae_tf import extras, startup
from patchvae_tf.demo import explanation
from patchvae_tf.errors import InputError
from patchvae_tf.saved_models import loaded as exported
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.fields import data_dir_setting
from patchvae_tf.settings.pixels import Pixels


@dataclasses.dataclass(frozen=True)
class DemoConfig(Settings):
    """Settings of `python -m export.demo`."""

    saved_model: str | None = setting(
        None, "Model", "folder of an exported version, or of its run: then the newest; needed"
    )
    dataset: str | None = setting(
        None,
        "Model",
        "a folder of images, a TFDS name or an .npz file, to look up the nearest parts in",
    )
    split: str = setting("train", "Model", "the part of that data set; of a plain folder: train")
    data_dir: str | None = data_dir_setting()
    max_indexed: int = setting(
        10_000, "Model", "the most images of that data set to look up", minimum=1
    )
    host: str = setting(
        "127.0.0.1", "Page", "address to listen at; 0.0.0.0 lets other machines in, without a lock"
    )
    port: int = setting(8080, "Page", "port to listen at", minimum=1, maximum=65535)
    max_megabytes: int = setting(10, "Page", "size of an upload, at most", minimum=1)

    def check(self) -> None:
        """Raises InputError for a setting that is missing or wrong."""
        if not self.saved_model:
            raise InputError("saved_model is missing. Give the folder of a run or an export.")


class Demo:
    """An exported model that explains uploads.

    Args:
        config: DemoConfig.

    Raises:
        InputError: the model or the folder cannot be read.
    """

    def __init__(self, config):
        version = exported.version(config.saved_model)
        facts = exported.facts(version)
        if "image_size" not in facts:
            raise InputError(f"{version} does not say its image size: export the model once more.")
        self.title = f"{facts.get('model', 'A model')} from {version}"
        self._size, channels = facts["image_size"], facts.get("channels", 3)
        self._pixels = Pixels(channels)
        offered = facts["signatures"]["serving_default"]["outputs"]
        self._has_parts = "occurrence" in offered
        names = ("occurrence", "appearance") if self._has_parts else ("features",)
        if config.dataset and not self._has_parts:
            raise InputError(f"{version} knows no parts to look up: leave dataset out.")

        if "serving_bytes" not in facts["signatures"]:
            raise InputError(
                f"{version} takes images of {channels} channels, and uploaded files have 1, 3 or 4."
            )

        startup.import_tensorflow()
        import tensorflow as tf

        from patchvae_tf import datasets

        self._answer, _ = exported.function(version, names, self._size, channels)
        self._reconstruct = tf.saved_model.load(str(version)).signatures["reconstruct"]
        self._index = None
        if config.dataset:
            stream = datasets.stream(
                config.dataset,
                config.split,
                image_size=self._size,
                pixels=self._pixels,
                data_dir=config.data_dir,
            )
            self._index = explanation.build_index(self._answer, stream, most=config.max_indexed)

    def pictures(self, content: bytes) -> list[tuple]:
        """What is shown of an uploaded file's bytes.

        Returns:
            list of (title, address that holds the whole PNG, width in CSS pixels).

        Raises:
            InputError: it is no image.
        """
        import tensorflow as tf

        image = explanation.read_upload(content, self._size, self._pixels)
        outputs = {name: tensor.numpy()[0] for name, tensor in self._answer(image[None]).items()}
        floats = tf.image.convert_image_dtype(image[None], tf.float32)
        rebuilt = self._reconstruct(images=floats)["reconstruction"][0].numpy()
        return [
            (title, explanation.data_url(figure), figure.get_figwidth() * 100)
            for title, figure in explanation.explain(image, outputs, rebuilt, self._index)
        ]


def _check_port(host, port):
    """Raises InputError where nothing can be served there."""
    import socket

    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise InputError(
            f"host={host} port={port} cannot be served ({error.strerror}). Choose another port."
        ) from error


def serve(config: DemoConfig) -> None:
    """Serves the page until the process is told to stop.

    Raises:
        InputError: the model or the folder cannot be read, or the port is taken.
    """
    extras.require("demo", "the page")
    demo = Demo(config)
    _check_port(config.host, config.port)
    _serve(demo, config)


def _serve(demo, config):
    """Serves the page; returns when the process is told to stop.

    Args:
        demo: Demo.
        config: DemoConfig.
    """
    from nicegui import run, ui

    def page():
        ui.page_title("PatchVAE")
        ui.label("What does the model see in your image?").classes("text-2xl")
        ui.label(demo.title).classes("text-sm opacity-70")
        message = ui.label().classes("text-red-600 dark:text-red-400")
        results = ui.column()

        async def on_upload(event):
            message.text = ""
            results.clear()
            with results:
                ui.spinner(size="lg")
            try:
                pictures = await run.io_bound(demo.pictures, await event.file.read())
            except InputError as error:
                message.text = f"{event.file.name}: {error}"
                return
            finally:
                upload.reset()
                results.clear()
            with results:
                ui.label(event.file.name).classes("text-sm opacity-70")
                for title, address, width in pictures:
                    ui.label(title).classes("text-lg")
                    ui.html(
                        f'<div style="overflow-x:auto"><img alt="{title}" width="{width:.0f}" '
                        f'style="max-width:none" src="{address}"></div>',
                        sanitize=False,  # all of it is ours
                    ).classes("max-w-full")

        def on_rejected():
            message.text = f"This file is larger than {config.max_megabytes} MB, or no image."

        upload = ui.upload(
            label=f"Drop an image here (at most {config.max_megabytes} MB)",
            auto_upload=True,
            max_file_size=config.max_megabytes * 2**20,
            max_files=1,
            on_upload=on_upload,
            on_rejected=on_rejected,
        ).props("accept=image/*")
        upload.move(target_index=2)

    print(f"http://{config.host}:{config.port} (Ctrl-C stops it)", flush=True)
    ui.run(
        page,
        host=config.host,
        port=config.port,
        title="PatchVAE",
        dark=None,  # as the browser is set
        reload=False,
        show=False,
        show_welcome_message=False,
        uvicorn_logging_level="warning",
    )
