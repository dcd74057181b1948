"""A local page to try a trained model on one's own images."""

import dataclasses

import numpy as np

from patchvae_tf import extras, startup
from patchvae_tf.datasets.preprocessing import ENCODED_CHANNELS
from patchvae_tf.demo import editing, explanation
from patchvae_tf.errors import InputError
from patchvae_tf.features import computing, sources
from patchvae_tf.saved_models import loaded as exported
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.fields import data_dir_setting
from patchvae_tf.settings.pixels import Pixels, value_range_setting

_CHANGED = "Change a part"


@dataclasses.dataclass(frozen=True)
class DemoConfig(Settings):
    """Settings of `python -m export.demo`."""

    saved_model: str | None = setting(
        None, "Model", "a preset, or the folder of a run or of an exported version; needed"
    )
    dataset: str | None = setting(
        None,
        "Model",
        "a folder of images, a TFDS name or an .npz file, to look up the nearest parts in",
    )
    split: str = setting("train", "Model", "the part of that data set; of a plain folder: train")
    data_dir: str | None = data_dir_setting()
    value_range: str | None = value_range_setting("the training's")
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
            raise InputError(
                "saved_model is missing. Give a preset, or the folder of a run or an export."
            )
        Pixels.of(3, self.value_range)


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """An upload and what the model makes of it.

    Attributes:
        image: uint8 [H, W, channels].
        outputs: `occurrence` [h, w, N] and `appearance` [N, d_p] where the model has parts.
        reconstruction: float32 [H, W, channels] in [0, 1].
    """

    image: np.ndarray
    outputs: dict[str, np.ndarray]
    reconstruction: np.ndarray


class Demo:
    """A trained model that explains uploads.

    Args:
        config: DemoConfig.

    Raises:
        InputError: the model or the folder cannot be read.
    """

    def __init__(self, config):
        source = sources.find(config.saved_model)
        self.title = source.title
        self._size = computing.checked_size(None, source)
        self._pixels = Pixels.of(source.channels, config.value_range or source.value_range)
        self.has_parts = source.offers("occurrence")
        names = ("occurrence", "appearance") if self.has_parts else ("features",)
        if config.dataset and not self.has_parts:
            raise InputError(f"{source.title} knows no parts to look up: leave dataset out.")
        if source.channels not in ENCODED_CHANNELS:
            raise InputError(
                f"{source.title} takes images of {source.channels} channels, and uploaded files "
                "have 1, 3 or 4."
            )

        startup.import_tensorflow()
        from patchvae_tf import datasets

        model = source.load()
        if "decode" not in model.signatures:
            raise InputError(
                f"{source.title} rebuilds no images: give a preset, a run or an export."
            )
        answer = exported.answering(model, names, source.title)
        self._answer, _ = exported.of_images(answer, self._size, source.channels)
        self._signatures = model.signatures
        self._model = model  # the signatures do not keep what they read
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

    def see(self, content: bytes) -> Seen:
        """What the model makes of an uploaded file's bytes.

        Raises:
            InputError: it is no image.
        """
        import tensorflow as tf

        image = explanation.read_upload(content, self._size, self._pixels)
        outputs = {name: tensor.numpy()[0] for name, tensor in self._answer(image[None]).items()}
        floats = tf.image.convert_image_dtype(image[None], tf.float32)
        rebuilt = self._signatures["reconstruct"](images=floats)["reconstruction"][0].numpy()
        return Seen(image, outputs, rebuilt)

    def pictures(self, seen: Seen) -> list[tuple]:
        """What is shown of an upload.

        Returns:
            list of (title, address that holds the whole PNG, width in CSS pixels).
        """
        found = explanation.explain(seen.image, seen.outputs, seen.reconstruction, self._index)
        return [(title, *_shown(figure)) for title, figure in found]

    def changed(self, seen: Seen, change: editing.Change) -> tuple[str, float]:
        """The picture of an upload rebuilt with one part changed: (address, width)."""
        latent = editing.latent(seen.outputs["occurrence"], seen.outputs["appearance"], change)
        rebuilt = self._signatures["decode"](latent=latent[None])["images"][0].numpy()
        return _shown(explanation.compare(seen.image, seen.reconstruction, rebuilt))


def _shown(figure):
    return explanation.data_url(figure), figure.get_figwidth() * 100


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


def _picture(title, address, width):
    from nicegui import ui

    ui.html(
        f'<div style="overflow-x:auto"><img alt="{title}" width="{width:.0f}" '
        f'style="max-width:none" src="{address}"></div>',
        sanitize=False,  # all of it is ours
    ).classes("max-w-full")


def _editor(demo, seen):
    """The controls that change a part of an upload, and what is rebuilt then."""
    from nicegui import run, ui

    ui.label(_CHANGED).classes("text-lg")
    peaks = seen.outputs["occurrence"].max(axis=(0, 1))  # [N]
    names = {int(part): f"part {part}, {peaks[part]:.0%}" for part in np.argsort(-peaks)}
    height, width = seen.outputs["occurrence"].shape[:2]
    look, picture, message = {}, ui.column(), ui.label().classes("text-red-600 dark:text-red-400")

    async def show():
        change = editing.Change(
            part.value,
            occurs=occurs.value,
            rows=int(rows.value or 0),
            columns=int(columns.value or 0),
            look=look["appearance"][part.value] if look else None,
        )
        found = await run.io_bound(demo.changed, seen, change)
        picture.clear()
        with picture:
            _picture(_CHANGED, *found)

    async def on_donor(event):
        message.text = ""
        try:
            donor = await run.io_bound(demo.see, await event.file.read())
        except InputError as error:
            message.text = f"{event.file.name}: {error}"
            return
        finally:
            donors.reset()
        look["appearance"] = donor.outputs["appearance"]
        await show()

    async def on_reset():
        look.clear()
        occurs.value, rows.value, columns.value = True, 0, 0
        await show()

    with ui.row().classes("items-center"):
        part = ui.select(names, value=next(iter(names)), on_change=show)
        occurs = ui.switch("occurs", value=True, on_change=show)
        limits = {"min": 1 - height, "max": height - 1}
        rows = ui.number("places down", value=0, **limits, on_change=show).classes("w-32")
        limits = {"min": 1 - width, "max": width - 1}
        columns = ui.number("places to the right", value=0, **limits, on_change=show).classes(
            "w-32"
        )
        ui.button("as it was", on_click=on_reset).props("flat")
    donors = ui.upload(
        label="Another image, for its look there", auto_upload=True, on_upload=on_donor
    ).props("accept=image/*")
    ui.timer(0, show, once=True)


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
                seen = await run.io_bound(demo.see, await event.file.read())
                pictures = await run.io_bound(demo.pictures, seen)
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
                    _picture(title, address, width)
                if demo.has_parts:
                    _editor(demo, seen)

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
