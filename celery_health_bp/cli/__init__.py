"""The commands: one report, one rendering, one set of options and exit codes."""
