"""Classifiers on a backbone, the paper's Table 5."""
