"""The command line `agvas`."""
