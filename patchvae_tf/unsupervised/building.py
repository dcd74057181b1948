"""From settings to the model that is trained, compiled."""

import inspect

import keras

import patchvae_tf
from patchvae_tf.optimizers import FusedAdam

MODELS = {
    "patchvae": patchvae_tf.PatchVAE,
    "beta_vae": patchvae_tf.BetaVAE,
    "bigan": patchvae_tf.BiGAN,
}


def build_model(config, dtype_policy, strategy, steps_per_epoch):
    """Returns the untrained model of the settings, compiled, its variables under `strategy`."""
    model_class = MODELS[config.model]
    # A model's arguments, and those that it hands on, have the names of the settings.
    arguments = {
        name
        for one in model_class.__mro__
        if one.__module__.startswith(patchvae_tf.__name__)
        for name in inspect.signature(one.__init__).parameters
    }
    settings = {name: value for name, value in config.to_json().items() if name in arguments}
    keras.utils.set_random_seed(config.seed)  # the first weights
    with strategy.scope():
        model = model_class(**settings, dtype=dtype_policy)
        model.compile(
            optimizer=FusedAdam(
                learning_rate(config, steps_per_epoch),
                beta_1=config.adam_beta_1,
                beta_2=config.adam_beta_2,
                weight_decay=config.weight_decay or None,
            )
        )
    return model


def learning_rate(config, steps_per_epoch):
    """The learning rate of the settings: a number, or a schedule, a function of the step alone."""
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    if config.learning_rate_schedule == "constant" and not warmup_steps:
        return config.learning_rate
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup_steps else config.learning_rate,
        # The steps after the warm-up.
        max(config.epochs_of(steps_per_epoch) * steps_per_epoch - warmup_steps, 1),
        alpha=0.0 if config.learning_rate_schedule == "cosine" else 1.0,
        warmup_target=config.learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
