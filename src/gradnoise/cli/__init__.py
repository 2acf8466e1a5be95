"""The command line: one file a command; what is heavy is imported inside commands."""

from gradnoise.cli.app import main

__all__ = ["main"]
