"""Rooted trees with ties: the terms of the expansion, their number, and in how many ways each lies in spacetime."""

from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.embeddings import embedding_count
from gradnoise.diagrams.enumerate import enumerate_diagrams, number_of_diagrams
from gradnoise.diagrams.forests import enumerate_forests

__all__ = ["Diagram", "embedding_count", "enumerate_diagrams", "enumerate_forests", "number_of_diagrams"]
