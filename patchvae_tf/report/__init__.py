"""What a run has learned, as a page of pictures."""
