"""Backbones: networks φ that turn an image into a grid of features."""

from patchvae_tf.backbones.resnet9 import STAGES, STRIDE, resnet9

__all__ = ["STAGES", "STRIDE", "resnet9"]
