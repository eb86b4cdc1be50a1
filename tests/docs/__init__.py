"""Tests of documents, examples, packages and benchmarks."""
