"""Training without labels: from settings to a finished run."""
