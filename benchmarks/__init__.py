"""What the package costs, measured; not part of the tests."""
