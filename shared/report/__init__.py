"""HTML pages with plots, each one self-contained file."""
