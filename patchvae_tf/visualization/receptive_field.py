"""How much of the image a location of a network sees."""

import keras


def receptive_field(network: keras.Model) -> int:
    """The side of the square of pixels that one location of the output depends on.

    Formula: along a path of layers with kernels k and strides s, 1 + Σ (k − 1) · Π of the strides
    before; the greatest over all paths. (Araujo, Norris, Sim, "Computing Receptive Fields of
    Convolutional Neural Networks", Distill 2019.)

    Args:
        network: functional `keras.Model` of convolutions, poolings and layers without extent.

    Returns:
        int, pixels.
    """
    # Of each tensor: receptive field, and pixels between two locations.
    sizes: dict[int, int] = {}
    steps: dict[int, int] = {}
    for layer in network.layers:
        inputs = keras.tree.flatten(layer.input)
        size = max((sizes.get(id(one), 1) for one in inputs), default=1)
        step = max((steps.get(id(one), 1) for one in inputs), default=1)
        kernel = _side(getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", 1))
        stride = _side(getattr(layer, "strides", 1))
        for one in keras.tree.flatten(layer.output):
            sizes[id(one)], steps[id(one)] = size + (kernel - 1) * step, step * stride
    return max(sizes[id(one)] for one in keras.tree.flatten(network.output))


def _side(value):
    return value[0] if isinstance(value, tuple | list) else value
