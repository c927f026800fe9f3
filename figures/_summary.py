"""Rows under their old names, until every figure prints those that its record keeps."""

from dae_theory.compare import Relation, Row, cells, interval, mean, number, reproduced, share, text

__all__ = ["Relation", "Row", "cells", "interval", "mean", "number", "reproduced", "share", "text"]
