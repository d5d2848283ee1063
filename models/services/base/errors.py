"""What can go wrong with a request. Each error knows its HTTP status, its code, and whether asking again may help."""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """Base of all errors that a caller is told of; the message says what is wrong and what to do."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    retry_after_seconds: int | None = None

    @property
    def body(self) -> dict[str, object]:
        """The JSON object that is answered."""
        return {"error": str(self), "code": self.code, "retryable": self.retryable}


class InvalidRequest(ServiceError):
    """The body is not what the protocol asks for."""

    status, code = 400, "invalid_request"


class InvalidInstance(ServiceError, ValueError):
    """The request is well formed, but the model cannot use an instance of it. Models raise this one."""

    status, code = 400, "invalid_instance"


class Unauthorized(ServiceError):
    """No token, or a wrong one."""

    status, code = 401, "unauthorized"


class ReferenceRefused(ServiceError):
    """A reference points outside the configured roots."""

    status, code = 403, "reference_refused"


class NotFound(ServiceError):
    """No such path."""

    status, code = 404, "not_found"


class ModelNotFound(NotFound):
    """No model of this name."""

    code = "model_not_found"


class VersionNotFound(NotFound):
    """The model is here, this version of it is not."""

    code = "version_not_found"


class MethodNotAllowed(ServiceError):
    """The path is there, for another method."""

    status, code = 405, "method_not_allowed"


class BodyTimeout(ServiceError):
    """The body came too slowly."""

    status, code, retryable = 408, "body_timeout", True


class RequestIdReused(ServiceError):
    """The request id was used before with another body."""

    status, code = 409, "request_id_reused"


class BodyTooLarge(ServiceError):
    """The body has more bytes than are accepted."""

    status, code = 413, "body_too_large"


class ImageTooLarge(ServiceError):
    """An image has more bytes or pixels than are accepted."""

    status, code = 413, "image_too_large"


class TooManyInstances(ServiceError):
    """A request holds more instances than are accepted."""

    status, code = 413, "too_many_instances"


class TextTooLong(ServiceError):
    """A text or JSON field is longer than is accepted."""

    status, code = 413, "text_too_long"


class UnsupportedContent(ServiceError):
    """The content is not one of the image formats that are accepted, or is more than that."""

    status, code = 415, "unsupported_content"


class QueueFull(ServiceError):
    """The model's queue holds as many instances as it may."""

    status, code, retryable, retry_after_seconds = 429, "queue_full", True, 1


class ModelFailed(ServiceError):
    """The model raised, or answered what it did not declare."""

    status, code, retryable = 500, "model_failed", True


class ReferenceUnavailable(ServiceError):
    """A reference could not be fetched."""

    status, code, retryable = 502, "reference_unavailable", True


class NotReady(ServiceError):
    """The model is still loading, or the service is ending."""

    status, code, retryable, retry_after_seconds = 503, "not_ready", True, 1


class Overloaded(ServiceError):
    """More requests are being served than are accepted."""

    status, code, retryable, retry_after_seconds = 503, "overloaded", True, 1


class DeadlineExceeded(ServiceError):
    """The answer was not there within the service's own limit."""

    status, code, retryable = 504, "deadline_exceeded", True
