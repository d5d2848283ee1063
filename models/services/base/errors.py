"""What can go wrong with a request. Each error knows its HTTP status, its code, and whether asking again may help."""

from __future__ import annotations

from typing import ClassVar


class ModelFolderError(Exception):
    """A folder holds no model that can be served; told when the process starts, to whoever started it."""


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


class InvalidRequestError(ServiceError):
    """The body is not what the protocol asks for."""

    status, code = 400, "invalid_request"


class InvalidInstanceError(ServiceError, ValueError):
    """The request is well formed, but the model cannot use an instance of it. Models raise this one."""

    status, code = 400, "invalid_instance"


class UnauthorizedError(ServiceError):
    """No token, or a wrong one."""

    status, code = 401, "unauthorized"


class ReferenceRefusedError(ServiceError):
    """A reference points outside the configured roots."""

    status, code = 403, "reference_refused"


class NotFoundError(ServiceError):
    """No such path."""

    status, code = 404, "not_found"


class ModelNotFoundError(NotFoundError):
    """No model of this name."""

    code = "model_not_found"


class VersionNotFoundError(NotFoundError):
    """The model is here, this version of it is not."""

    code = "version_not_found"


class MethodNotAllowedError(ServiceError):
    """The path is there, for another method."""

    status, code = 405, "method_not_allowed"


class BodyTimeoutError(ServiceError):
    """The body came too slowly."""

    status, code, retryable = 408, "body_timeout", True


class RequestIdReusedError(ServiceError):
    """The request id was used before with another body."""

    status, code = 409, "request_id_reused"


class BodyTooLargeError(ServiceError):
    """The body has more bytes than are accepted."""

    status, code = 413, "body_too_large"


class ImageTooLargeError(ServiceError):
    """An image has more bytes or pixels than are accepted."""

    status, code = 413, "image_too_large"


class TooManyInstancesError(ServiceError):
    """A request holds more instances than are accepted."""

    status, code = 413, "too_many_instances"


class TextTooLongError(ServiceError):
    """A text or JSON field is longer than is accepted."""

    status, code = 413, "text_too_long"


class UnsupportedContentError(ServiceError):
    """The content is not one of the image formats that are accepted, or is more than that."""

    status, code = 415, "unsupported_content"


class QueueFullError(ServiceError):
    """The model's queue holds as many instances as it may."""

    status, code, retryable, retry_after_seconds = 429, "queue_full", True, 1


class ModelFailedError(ServiceError):
    """The model raised, or answered what it did not declare."""

    status, code, retryable = 500, "model_failed", True


class ReferenceUnavailableError(ServiceError):
    """A reference could not be fetched."""

    status, code, retryable = 502, "reference_unavailable", True


class NotReadyError(ServiceError):
    """The model is still loading, or the service is ending."""

    status, code, retryable, retry_after_seconds = 503, "not_ready", True, 1


class OverloadedError(ServiceError):
    """More requests are being served than are accepted."""

    status, code, retryable, retry_after_seconds = 503, "overloaded", True, 1


class DeadlineExceededError(ServiceError):
    """The answer was not there within the service's own limit."""

    status, code, retryable = 504, "deadline_exceeded", True
