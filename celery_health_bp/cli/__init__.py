"""The command line: the health command and ``celery-health-assets``."""
