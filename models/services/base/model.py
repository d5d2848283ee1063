"""The contract between a service and its model: what a model declares, and the few calls it answers.

A model knows no HTTP and no protocol. It declares its input fields and its outputs, and the layers above do the rest:
they parse requests, fetch and check contents, gather batches, hold the limits and encode answers.

>>> Field("memo", FieldKind.TEXT).required
True
>>> Output("fraud_probability", "FP32", ()).is_json
False
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

Instance = Mapping[str, Any]
"""One item of a request after the checks: field name to ImageContent, str or JSON value; optional may be absent."""

Prediction = Mapping[str, Any]
"""One answer: output name to a value of the declared shape (NumPy array or number), to a str, or to a JSON value."""


class FieldKind(enum.Enum):
    """How a field travels, and what is checked before a model sees it."""

    IMAGE = "image"
    """A raster image, inline or by reference; checked by content, its pixels counted, not decoded: `ImageContent`."""
    TEXT = "text"
    """Unicode text of bounded length: `str`."""
    JSON = "json"
    """An object, array, number or text, as JSON has it: for instance a payment."""


@dataclass(frozen=True, slots=True)
class Field:
    """One named input of an instance."""

    name: str
    kind: FieldKind
    required: bool = True
    description: str = ""
    json_schema: Mapping[str, Any] | None = None
    """For `FieldKind.JSON`: what the API's description says of the value; the model checks the value itself."""


@dataclass(frozen=True, slots=True)
class Output:
    """One named output of an instance."""

    name: str
    datatype: str
    """A datatype of the Open Inference Protocol: FP32, INT64, BOOL, ... or BYTES for text and JSON values."""
    shape: tuple[int, ...] = ()
    """The shape of one instance's value; `()` is one number or one text."""
    is_json: bool = False
    """With BYTES: the value is a JSON value; V1 carries it as such, V2 as its text."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class ImageContent:
    """An image that passed the checks: undecoded bytes and what its header says."""

    content: bytes
    media_type: str
    """image/png, image/jpeg or image/webp, found in the content, not taken from a name or a header."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What an action answers, and the model that it made, if it made one."""

    body: Mapping[str, Any]
    """A JSON object."""
    model: ServedModel | None = None
    """A model of the same name and a new version, loaded; it becomes the default, and older versions stay served."""


Action = Callable[[Sequence[Instance], Mapping[str, Any]], ActionResult]
"""(instances, parameters) -> result; reached as POST /v1/models/NAME:ACTION. Never changes the model it belongs to."""


class ServedModel(ABC):
    """A model of one name and one version. It never changes: a new version is a new object.

    Calls and the threads they come from:

    - `load()`: once, before everything else; may take minutes; ends with a warm-up.
    - `preprocess(instance)`: from a pool of threads, many at once; one instance in, whatever `predict` needs out.
      Decoding belongs here. It raises `InvalidInstanceError` for what it cannot use; any other exception counts as a
      fault of the model.
    - `predict(prepared)`: from one thread, one call at a time; 1 to `max_batch_size` results of `preprocess`, from any
      requests. As many predictions, in the same order. A prediction depends on its own instance, not on its neighbours.
    - `explain(prepared, parameters)`: from one thread of its own, one call at a time, at the same time as `predict`.
    - `close()`: once, after everything else.

    Nothing here is given a clock, a request or a header. The same instance gives the same prediction, so that a replay
    can ask again.
    """

    name: str
    """As in the URL: lower-case letters, digits, `-` and `_`."""
    version: str
    """As in the URL. Two models that may answer differently have different versions."""
    fields: tuple[Field, ...]
    outputs: tuple[Output, ...]
    max_batch_size: int = 32
    actions: Mapping[str, Action] = {}
    platform: ClassVar[str] = "onnxruntime"

    @property
    def description(self) -> Mapping[str, Any]:
        """What the model's card says of it (licence, sha256, metrics, ...), for metadata; a JSON object."""
        return {}

    @abstractmethod
    def load(self) -> None:
        """Read weights, open sessions, warm up."""

    @abstractmethod
    def preprocess(self, instance: Instance) -> Any:
        """Turn one instance into what `predict` takes; raise `InvalidInstanceError` if that can't be done."""

    @abstractmethod
    def predict(self, prepared: Sequence[Any]) -> Sequence[Prediction]:
        """Answer a batch: one prediction an item, in order."""

    def explain(self, prepared: Any, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Explain one instance as a JSON object; PNG and other bytes as `{"b64": "..."}`."""
        del prepared, parameters
        raise NotImplementedError(f"model {self.name} has no explanation")

    @property
    def explains(self) -> bool:
        """Whether `explain` is answered."""
        return type(self).explain is not ServedModel.explain

    def close(self) -> None:  # noqa: B027 - most models have nothing to free
        """Free what `load` took."""
