"""What is done to rows before they are checked: one file a rule, `chain` puts them together."""

VERSION = 1
"""Raised when a rule begins to do something else to the same row; it stands in the manifests of dataset versions."""
