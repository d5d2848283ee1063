"""Prequential evaluation: score first, learn when the label would have been known, measure by week and by pattern."""
