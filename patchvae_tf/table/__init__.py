"""The paper's table of results."""
