"""Measure the cost of the package and of other tools."""
