"""The web side: what the workers and the broker answer within one deadline."""
