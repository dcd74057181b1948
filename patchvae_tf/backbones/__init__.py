"""Backbones: networks φ that turn an image into a grid of features."""

from patchvae_tf.backbones.resnet9 import CHANNELS, STAGES, STRIDE, resnet9

__all__ = ["CHANNELS", "STAGES", "STRIDE", "resnet9"]
