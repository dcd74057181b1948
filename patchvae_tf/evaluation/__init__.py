"""What frozen features and occurrence maps are worth."""
