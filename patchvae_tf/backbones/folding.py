"""Batch normalisation folded into convolutions: φ for inference, with fewer passes."""

import keras

from patchvae_tf.layers import BatchNormalization


def folded(network: keras.Model) -> keras.Model:
    """The same function as a functional model in inference mode, without batch normalisation.

    Each `BatchNormalization` after a convolution becomes part of its kernel and bias:
    γ (k ∗ x − μ) / √(σ² + ε) + β = (s k) ∗ x + (β − s μ), s = γ / √(σ² + ε). The results differ by
    float rounding. One that follows anything else stays.

    Args:
        network: functional `keras.Model` in which each convolution before a batch normalisation
            feeds that alone.

    Returns:
        A functional model of the same inputs and outputs, with weights of its own in the precision
        that their layers compute in.
    """
    norms = {}  # convolution's name -> the normalisation after it
    for layer in network.layers:
        if isinstance(layer, BatchNormalization):
            before = layer.input._keras_history.operation
            if isinstance(before, keras.layers.Conv2D) and not before.use_bias:
                norms[before.name] = layer
    gone = {norm.name for norm in norms.values()}

    def clone(layer):
        # Weights as they are computed with: no cast at every call.
        config = {**layer.get_config(), "dtype": layer.compute_dtype}
        if layer.name in norms:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer, *args, **kwargs):
        if layer.name in gone:
            return args[0]
        return layer(*args, **kwargs)

    copy = keras.models.clone_model(network, clone_function=clone, call_function=call)
    for layer in network.layers:
        if layer.name in gone or not layer.weights:
            continue
        weights = layer.get_weights()
        if layer.name in norms:
            norm = norms[layer.name]
            gamma, beta, mean, variance = (w.astype("float64") for w in norm.get_weights())
            scale = gamma / (variance + norm.epsilon) ** 0.5
            weights = [weights[0] * scale, beta - scale * mean]
        copy.get_layer(layer.name).set_weights(weights)
    return copy
