"""Results as labelled arrays: one tree, one file."""

from gradnoise.results.checkpoint import CheckpointFolder
from gradnoise.results.convert import to_results
from gradnoise.results.io import load, save
from gradnoise.results.provenance import provenance
from gradnoise.results.schema import build_tree, validate

__all__ = ["CheckpointFolder", "build_tree", "load", "provenance", "save", "to_results", "validate"]
