"""Several machines: the workers of a run, and the services that read its images."""
