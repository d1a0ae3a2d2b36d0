"""The commands of the command line. Each module adds its own to the parser in `add_to`, and imports nothing heavy."""
