"""What can go wrong with a learner."""


class LearnerError(Exception):
    """Any failure of a learner."""


class SnapshotError(LearnerError):
    """A snapshot or a block of parameters is damaged, of another kind, or of another version."""


class InputError(LearnerError, ValueError):
    """Rows, labels or weights of a shape or range that no learner accepts."""


class MissingLibraryError(LearnerError):
    """A learner needs a library that is not installed."""
