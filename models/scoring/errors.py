"""What can be wrong with what the scoring stage is given: a model, a rule."""

from __future__ import annotations


class ScoringError(Exception):
    """Base of this package's errors."""


class ModelError(ScoringError):
    """A model directory that cannot be scored with: missing, altered, or made for other features."""


class RuleError(ScoringError):
    """A rule that cannot be put in force. The message says what to change in it."""
