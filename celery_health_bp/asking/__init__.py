"""The web side: asks the workers and the broker, within one deadline."""
