"""What can go wrong with the embedded stack."""


class StackError(Exception):
    """Base of every error of the embedded stack; the message names the operator's next action."""


class ToolMissingError(StackError):
    """A program that the stack needs (java, mvn, redis-server) is missing or too old."""


class JarsNotFetchedError(StackError):
    """Maven could not bring the broker's or the connector's jars."""


class ServiceNotReadyError(StackError):
    """A service was started and did not answer in time, or died at once."""


class SubmissionError(StackError):
    """The Flink client could not submit the job, or the cluster refused it."""
