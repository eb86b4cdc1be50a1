"""The HTTP endpoints and ``/metrics``, without a web framework."""
