"""The plain PyTorch twin computes what our model does, so that their rates can be compared."""

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import PatchVAE, noise

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

BATCH = 4


@pytest.fixture(scope="module")
def images():
    blocks = np.random.default_rng(1).integers(0, 256, (BATCH, 8, 8, 3)).astype(np.uint8)
    return np.repeat(np.repeat(blocks, 4, axis=1), 4, axis=2)


@pytest.fixture(scope="module")
def both_sides(images):
    """Terms, reconstruction and gradients of either side, from the same weights and noise."""
    from benchmarks import plain_torch

    # Depart from the first weights: gamma 1 and beta 0 would hide what is swapped.
    model = PatchVAE(image_size=32)
    rng = np.random.default_rng(1)
    for variable in model.weights:
        scale = 0.1 if "moving" in variable.path else 0.02
        value = variable.numpy()
        variable.assign(value + scale * np.abs(rng.normal(size=value.shape)))
    twin = plain_torch.PlainPatchVAE()
    plain_torch.load_weights(twin, model)
    seed = noise.step_seed(0, 7)

    x = tf.image.convert_image_dtype(images, tf.float32)
    with tf.GradientTape() as tape:
        terms = model.loss_terms(x, tf.constant(0, tf.int64), seed, training=True)
        loss = tf.reduce_mean(terms["loss"])
    variables = model.trainable_variables
    gradients = dict(zip((id(v) for v in variables), tape.gradient(loss, variables), strict=True))

    drawn = {
        "uniform": noise.uniform([BATCH, 4, 4, 16], noise.fold_in(seed, 1)).numpy(),
        "normal": noise.normal([BATCH, 16, 6], noise.fold_in(seed, 2)).numpy(),
    }
    drawn = {
        "uniform": torch.from_numpy(drawn["uniform"].transpose(0, 3, 1, 2).copy()),
        "normal": torch.from_numpy(drawn["normal"]),
    }
    twin_terms = twin.loss_terms(plain_torch.to_signed(torch.from_numpy(images)), **drawn)
    twin_terms["loss"].mean().backward()
    return model, twin, terms, twin_terms, gradients


def test_the_twin_has_the_papers_parameters():
    from benchmarks import plain_torch

    twin = plain_torch.PlainPatchVAE()
    assert sum(p.numel() for p in twin.backbone.parameters()) == 683_072
    assert sum(p.numel() for p in twin.decoder.parameters()) == 683_904
    assert sum(p.numel() for p in twin.parameters()) == 922_896 + 683_904


@pytest.mark.parametrize("name", ["loss", "reconstruction", "kl_occurrence", "kl_appearance"])
def test_loss_terms_are_equal(both_sides, name):
    _, _, terms, twin_terms, _ = both_sides
    np.testing.assert_allclose(twin_terms[name].detach(), terms[name], rtol=1e-5)


def test_gradients_are_equal(both_sides):
    from benchmarks import plain_torch

    model, twin, _, _, gradients = both_sides
    expected = plain_torch.PlainPatchVAE()

    # The same walk that carried the weights over carries the gradients.
    for variable in model.trainable_variables:
        variable.assign(gradients[id(variable)])
    plain_torch.load_weights(expected, model)
    errors, sizes = [], []
    for (name, own), other in zip(twin.named_parameters(), expected.parameters(), strict=True):
        errors.append(float((own.grad - other.detach()).norm()))
        sizes.append(float(other.detach().norm()))
        # A value that rounds to the other side of a ReLU's kink shows in a tensor by itself.
        assert errors[-1] <= 1e-4 * sizes[-1], name
    assert np.linalg.norm(errors) <= 1e-5 * np.linalg.norm(sizes)


def test_features_and_reconstructions_are_equal(images):
    from benchmarks import plain_torch

    model = PatchVAE(image_size=32)
    twin = plain_torch.PlainPatchVAE().eval()
    plain_torch.load_weights(twin, model)
    x = tf.image.convert_image_dtype(images, tf.float32)
    signed = plain_torch.to_signed(torch.from_numpy(images))
    with torch.no_grad():
        features = twin.backbone(signed).numpy()
    expected = model.backbone(x).numpy().transpose(0, 3, 1, 2)
    np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())
