"""Features of images: as files, from Python, as a scikit-learn transformer, by Apache Beam."""
