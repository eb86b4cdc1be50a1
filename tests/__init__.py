"""Tests on real servers, real worker processes and real HTTP."""
