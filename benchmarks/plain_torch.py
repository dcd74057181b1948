"""PatchVAE in plain PyTorch, as a user would write it: the other side of `benchmarks.compare`.

The paper's network and step in float32 NCHW: φ of Table 5, three heads, relaxed Bernoulli and
Gaussian samples, the decoder of Tables 3 and 4, L_w, Adam. Given our weights and noise it computes
what `patchvae_tf.PatchVAE` does (`tests/benchmarks/test_plain_torch.py`). Needs PyTorch, which the
package does not.
"""

import math

import torch
from torch import nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """He et al., Figure 5 left: [batch, c, h, w] -> [batch, filters, h / stride, w / stride]."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.conv_a = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.norm_a = nn.BatchNorm2d(filters)
        self.conv_b = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.norm_b = nn.BatchNorm2d(filters)
        self.shortcut = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)
            )

    def forward(self, x):
        y = functional.relu(self.norm_a(self.conv_a(x)))
        return functional.relu(self.norm_b(self.conv_b(y)) + self.shortcut(x))


def resnet9():
    """φ: [batch, 3, H, W] in [-1, 1] -> [batch, 128, H / 8, W / 8]."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, padding=3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        BasicBlock(64, 64, 1),
        BasicBlock(64, 64, 1),
        BasicBlock(64, 128, 2),
        BasicBlock(128, 128, 1),
    )


def patch_decoder(channels):
    """[batch, channels, h, w] -> [batch, 3, 8 h, 8 w] in [-1, 1]."""
    return nn.Sequential(
        nn.Conv2d(channels, 256, 1, bias=False),
        nn.BatchNorm2d(256),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(256, 128, 4, 2, padding=1, bias=False),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(128, 64, 4, 2, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(64, 3, 4, 2, padding=1, bias=False),
        nn.Tanh(),
    )


class PlainPatchVAE(nn.Module):
    """The paper's PatchVAE + L_w at a stride of 8.

    Args:
        num_parts, appearance_dim, occurrence_weight, appearance_weight: as of
            `patchvae_tf.PatchVAE`.
    """

    def __init__(
        self, num_parts=16, appearance_dim=6, occurrence_weight=10.0, appearance_weight=1.0
    ):
        super().__init__()
        self.num_parts = num_parts
        self.appearance_dim = appearance_dim
        self.occurrence_weight = occurrence_weight
        self.appearance_weight = appearance_weight
        channels = num_parts * appearance_dim
        self.backbone = resnet9()
        self.occurrence_head = nn.Conv2d(128, num_parts, 3, padding=1)
        self.appearance_mean_head = nn.Conv2d(128, channels, 3, padding=1)
        self.appearance_log_variance_head = nn.Conv2d(128, channels, 3, padding=1)
        self.decoder = patch_decoder(channels)

    def forward(self, images, temperature=1.0, uniform=None, normal=None):
        """What the loss needs.

        Args:
            images: float32 [batch, 3, H, W] in [-1, 1].
            temperature: float τ.
            uniform: float32 [batch, num_parts, h, w] in (0, 1), drawn where it is None.
            normal: float32 [batch, num_parts, appearance_dim], drawn where it is None.

        Returns:
            (reconstruction [batch, 3, H, W], logits [batch, num_parts, h, w], mean and variance
            [batch, num_parts, appearance_dim]).
        """
        features = self.backbone(images)  # [batch, 128, h, w]
        logits = self.occurrence_head(features).float()  # [batch, num_parts, h, w]
        weight = torch.sigmoid(logits).detach()
        weight = weight / (weight.sum(dim=(2, 3), keepdim=True) + 1e-6)

        def pooled(maps):  # [batch, num_parts * appearance_dim, h, w] -> [batch, num_parts, d]
            maps = maps.float().unflatten(1, (self.num_parts, self.appearance_dim))
            return (weight[:, :, None] * maps).sum(dim=(3, 4))

        mean = pooled(self.appearance_mean_head(features))
        log_variance = self.appearance_log_variance_head(features).float()
        variance = pooled(log_variance.clamp(math.log(1e-7), math.log(1e7)).exp()).clamp(min=1e-7)
        if uniform is None:
            uniform = torch.rand_like(logits).clamp(1e-7, 1 - 1e-7)
        if normal is None:
            normal = torch.randn_like(mean)
        occurrence = torch.sigmoid((logits + uniform.log() - (-uniform).log1p()) / temperature)
        appearance = mean + variance.sqrt() * normal
        latent = occurrence[:, :, None] * appearance[:, :, :, None, None]
        reconstruction = self.decoder(latent.flatten(1, 2)).float()
        return reconstruction, logits, mean, variance

    def loss_terms(self, images, **kwargs):
        """The terms, each a value for each image [batch]: see `patchvae_tf.PatchVAE`.

        Args:
            images: float32 [batch, 3, H, W] in [-1, 1].
            **kwargs: as of `forward`.
        """
        reconstruction, logits, mean, variance = self(images, **kwargs)
        error = laplacian_weights(images) * (images - reconstruction) ** 2
        terms = {
            "reconstruction": error.sum(dim=(1, 2, 3)),
            "kl_occurrence": bernoulli_kl(logits, 1.0 / self.num_parts),
            "kl_appearance": 0.5 * (mean**2 + variance - 1 - variance.log()).sum(dim=(1, 2)),
        }
        terms["loss"] = (
            terms["reconstruction"]
            + self.occurrence_weight * terms["kl_occurrence"]
            + self.appearance_weight * terms["kl_appearance"]
        )
        return terms


def bernoulli_kl(logits, prior):
    """KL(Bern(sigmoid(logits)) ‖ Bern(prior)), summed: [batch, ...] -> [batch]."""
    q = torch.sigmoid(logits)
    on = functional.logsigmoid(logits) - math.log(prior)
    off = functional.logsigmoid(-logits) - math.log1p(-prior)
    return (q * on + (1 - q) * off).flatten(1).sum(dim=1)


def laplacian_weights(images, block_size=8):
    """The weight mask of L_w: [batch, 3, H, W], each image's and channel's of mean 1."""
    x = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    around = x[:, :, :-2, 1:-1] + x[:, :, 2:, 1:-1] + x[:, :, 1:-1, :-2] + x[:, :, 1:-1, 2:]
    sums = functional.avg_pool2d((around - 4 * images).abs(), block_size)
    mean = sums.mean(dim=(2, 3), keepdim=True)
    weights = torch.where(mean > 0, sums / mean, torch.ones_like(sums))
    return weights.repeat_interleave(block_size, 2).repeat_interleave(block_size, 3)


def to_signed(images):
    """uint8 [batch, H, W, 3] -> float32 [batch, 3, H, W] in [-1, 1], in channels-last memory."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def load_weights(module, model):
    """Gives a `PlainPatchVAE` the weights of a `patchvae_tf.PatchVAE`.

    Both are walked in the order in which they compute.

    Raises:
        ValueError: the models are not the same network.
    """
    torch_layers = [
        layer
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d)
    ]
    keras_layers = [*_in_order(model.backbone), *model.heads, *_in_order(model.decoder)]
    with torch.no_grad():
        for own, other in zip(torch_layers, keras_layers, strict=True):
            for name, value in _torch_weights(other).items():
                getattr(own, name).copy_(torch.from_numpy(value))


def _in_order(network):
    """The layers with weights, each block's shortcut after its other layers, as in `modules`."""
    return sorted(
        (layer for layer in network.layers if layer.weights),
        key=lambda layer: (layer.name.split("_")[0].rstrip("ab"), "shortcut" in layer.name),
    )


def _torch_weights(layer):
    """A Keras layer's weights by the names and in the layouts of PyTorch's."""
    names = {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
        "kernel": "weight",
        "bias": "bias",
    }
    found = {}
    for variable in layer.weights:
        value = variable.numpy()
        if variable.name == "kernel":  # [rows, cols, in, out] (transposed: out, in) -> [o, i, ...]
            value = value.transpose(3, 2, 0, 1).copy()
        found[names[variable.name]] = value
    return found
