"""How a call to a side service can end without an answer."""

from __future__ import annotations


class ServiceError(Exception):
    """Base of what a call raises."""


class ServiceRefusedError(ServiceError):
    """The service works and will not answer this request, however often it is asked."""


class ServiceFailedError(ServiceError):
    """The service gave no usable answer: it broke off, answered an error, or something that is not its schema.

    Attributes
    ----------
    is_retryable
        Whether asking again may help.
    retry_after_seconds
        How long the service asked to be left alone; 0 where it said nothing.
    """

    def __init__(self, message: str, *, is_retryable: bool = True, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.is_retryable = is_retryable
        self.retry_after_seconds = retry_after_seconds
