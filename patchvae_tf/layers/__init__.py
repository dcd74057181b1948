"""The method's own layers, one idea a file."""

from patchvae_tf.layers.appearance import AppearancePooling, GaussianSampling
from patchvae_tf.layers.batch_normalization import BatchNormalization
from patchvae_tf.layers.convolution import Conv2D, Conv2DTranspose
from patchvae_tf.layers.geometric_views import RandomAffine, RandomCrop
from patchvae_tf.layers.grouped_convolution import GroupedConv2DTranspose, SplitGroups
from patchvae_tf.layers.laplacian_weights import LaplacianWeights
from patchvae_tf.layers.occurrence import RelaxedBernoulli, RelaxedCategorical, RelaxedExclusive
from patchvae_tf.layers.views import BlockMasking, ColorJitter, RandomViews

__all__ = [
    "AppearancePooling",
    "BatchNormalization",
    "BlockMasking",
    "ColorJitter",
    "Conv2D",
    "Conv2DTranspose",
    "GaussianSampling",
    "GroupedConv2DTranspose",
    "LaplacianWeights",
    "RandomAffine",
    "RandomCrop",
    "RandomViews",
    "RelaxedBernoulli",
    "RelaxedCategorical",
    "RelaxedExclusive",
    "SplitGroups",
]
