"""Drift: what moved in scores, errors and features, and what learners do about it."""
