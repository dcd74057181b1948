"""What every training stands on: the loop, checkpoints, devices, and a session around them."""
