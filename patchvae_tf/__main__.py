"""`python -m patchvae_tf`: the command `patchvae`."""

from patchvae_tf.command_line.main import main

if __name__ == "__main__":
    main()
