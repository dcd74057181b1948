"""How the peers of `benchmarks.peers` are trained: views, optimizer, learning rate.

Views are those of lightly's benchmark on CIFAR-10 (SimCLR, Barlow Twins, BYOL, SwAV), of
solo-learn's on CIFAR (VICReg) and of EMP-SSL's authors on CIFAR. The sources' optimizers are for
hundreds of epochs; here AdamW at 1e-3, which `agreement` has, is for all: see docs/recipes.md.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Views:
    """How a view is made; the numbers are torchvision's, probabilities in [0, 1].

    Attributes:
        area: (least, greatest) share of the image's area that a crop has, in (0, 1].
        ratio: greatest width / height of a crop; the least is its inverse.
        jitter: brightness, contrast, saturation (each factor is from 1 - it to 1 + it) and hue
            (turned by at most it, in whole turns).
        jitter_probability, flip, grey, solarized: how often each is done.
    """

    area: tuple[float, float] = (0.08, 1.0)
    ratio: float = 4 / 3
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    jitter_probability: float = 0.8
    flip: float = 0.5
    grey: float = 0.2
    solarized: float = 0.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a peer is trained.

    Attributes:
        method: class of `benchmarks.peer_methods`.
        optimizer: "adamw" or "sgd".
        learning_rate: float, the highest.
        views: Views.
        num_views: int, of each image.
    """

    method: str
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    views: Views = Views()
    num_views: int = 2

    def changed(self, least_area, color_jitter):
        """The same but for how its views are made.

        Args:
            least_area: float in (0, 1], the smallest crop's share of an image's area.
            color_jitter: float in [0, 1], by which all changes of colours are multiplied: how far
                they go, and how often an image is made grey or solarized.
        """
        views = dataclasses.replace(
            self.views,
            area=(least_area, max(least_area, self.views.area[1])),
            jitter=tuple(color_jitter * one for one in self.views.jitter),
            grey=color_jitter * self.views.grey,
            solarized=color_jitter * self.views.solarized,
        )
        return dataclasses.replace(self, views=views)


PEERS = {
    "simclr": Recipe("SimCLR"),
    "vicreg": Recipe(
        "VICReg", views=Views(area=(0.2, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), solarized=0.1)
    ),
    "emp_ssl": Recipe(
        "EMPSSL",
        views=Views(area=(0.25, 0.25), ratio=1.0, jitter=(0.4, 0.4, 0.4, 0.2), solarized=0.1),
        num_views=8,
    ),
    "barlow_twins": Recipe("BarlowTwins"),
    "byol": Recipe("BYOL"),
    "swav": Recipe("SwAV", views=Views(area=(0.14, 1.0))),
}
