"""Features of whole data sets, as files."""
