"""Which rows a pipeline has."""
