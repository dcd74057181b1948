"""Command-line trainers: `python -m trainers.unsupervised`."""
