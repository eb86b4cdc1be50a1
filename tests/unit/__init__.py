"""Tests without a server, in the package's own tree."""
