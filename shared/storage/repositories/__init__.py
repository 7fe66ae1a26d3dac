"""Queries and changes that several services share, one file an aggregate."""
