"""Finished scores taken apart: by dimension, by agreement with the history, by length, under reversal, by history."""

from alignx.evaluation.breakdown.moves import Bin, Moves, Tally

__all__ = ["Bin", "Moves", "Tally"]
