"""The life of a request between protocol and model: choose the version, check, prepare, batch, answer in time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from models.services.base.dataplane.answers import Answers
from models.services.base.dataplane.outputs import answer_bytes, checked
from models.services.base.dataplane.request import ModelAnswer, ModelRequest
from models.services.base.dataplane.served import Served
from models.services.base.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    ModelFailedError,
    ModelNotFoundError,
    NotFoundError,
    NotReadyError,
    ServiceError,
    TooManyInstancesError,
    VersionNotFoundError,
)
from models.services.base.evidence.instances import InstanceReader
from models.services.base.metrics import ServiceMetrics
from models.services.base.model import Instance, ServedModel
from models.services.base.settings import ServiceSettings

logger = logging.getLogger(__name__)

T = TypeVar("T")
MAX_VERSIONS = 8  # of one name; the oldest that was learned goes first, the one that was started with stays


class Dataplane:
    """Serve models of any names and versions.

    Parameters
    ----------
    models
        Built, not loaded; the first of a name is its default version.
    settings
        Bounds of batches, queues and time.
    metrics
        Where times and counts go.
    reader
        Turns raw instances into checked ones; made from the settings by default.
    """

    def __init__(
        self,
        models: Iterable[ServedModel],
        settings: ServiceSettings,
        metrics: ServiceMetrics | None = None,
        reader: InstanceReader | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics or ServiceMetrics()
        self._reader = reader or InstanceReader(settings)
        self._threads = ThreadPoolExecutor(settings.preprocess_threads, thread_name_prefix="prepare")
        self._served: dict[str, dict[str, Served]] = {}
        self._default: dict[str, str] = {}
        self._acting = asyncio.Lock()
        self._answers: Answers[ModelAnswer] = Answers(
            settings.max_answers, settings.max_answers_bytes, settings.answer_ttl_seconds, answer_bytes
        )
        for model in models:
            self._add(model)

    # -- what is served -----------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """Names of the models."""
        return list(self._served)

    def versions(self, name: str) -> list[str]:
        """Versions of a model that are served, the default one first."""
        default = self.model(name).version
        return [default, *(version for version in self._served[name] if version != default)]

    def model(self, name: str, version: str | None = None) -> ServedModel:
        """Find a model; `version` None means the default one."""
        return self._find(name, version).model

    def is_ready(self, name: str | None = None, version: str | None = None) -> bool:
        """Whether a model, or every model, is loaded and warmed up."""
        if name is not None:
            return self._find(name, version).is_ready
        return all(served.is_ready for versions in self._served.values() for served in versions.values())

    async def load(self) -> None:
        """Load every model, one after the other; the loop stays free meanwhile."""
        self._reader.warm_up()
        for versions in list(self._served.values()):
            for served in list(versions.values()):
                await served.load()
                self.metrics.ready.labels(served.model.name).set(1)
                logger.info("model %s version %s is ready", served.model.name, served.model.version)

    async def close(self) -> None:
        """Answer nothing more, and free the models."""
        for versions in self._served.values():
            for served in versions.values():
                await served.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # -- requests -----------------------------------------------------------------------------------------------------

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Answer a request, or raise a `ServiceError`.

        With a request id, a repetition gets the answer of the first, as long as that is kept, and with
        ``reused=True``; actions too, so that what is learned is not learned twice.
        """
        outcome = "ok"
        name = request.model_name if request.model_name in self._served else "unknown"
        verb = request.verb
        try:
            served = self._find(request.model_name, request.version)
            verb = self._verb(served, request)
            answer, reused = await self._once(served, request)
            if reused:
                self.metrics.answers_reused.labels(name).inc()
            return replace(answer, reused=True) if reused else answer
        except ServiceError as error:
            outcome = error.code
            verb = "unknown" if isinstance(error, NotFoundError) else verb
            raise
        finally:
            self.metrics.requests.labels(name, verb, outcome).inc()

    async def _once(self, served: Served, request: ModelRequest) -> tuple[ModelAnswer, bool]:
        async def compute() -> ModelAnswer:
            try:
                async with asyncio.timeout(self.settings.answer_timeout_seconds):
                    return await self._compute(served, request)
            except TimeoutError:
                raise DeadlineExceededError(
                    f"no answer within {self.settings.answer_timeout_seconds:g} s: ask again, or with fewer instances"
                ) from None

        if request.request_id is None:
            return await compute(), False
        # The version that was asked for, not the one that answers: repeated, "the default" stays what it was.
        key = (request.model_name, request.version or "", request.verb, request.request_id)
        return await self._answers.get(key, request.fingerprint, compute)

    async def _compute(self, served: Served, request: ModelRequest) -> ModelAnswer:
        model = served.model
        if not served.is_ready:
            raise NotReadyError(f"model {model.name} is still loading: wait for GET /v2/health/ready")
        if len(request.instances) > self.settings.max_instances:
            raise TooManyInstancesError(
                f"{len(request.instances)} instances, and at most {self.settings.max_instances} are accepted: send "
                "several requests"
            )
        is_action = request.verb not in ("predict", "explain")
        with self._timed(self.metrics.preprocess_seconds, model.name):
            raw = await self._reader.fetch(model, request.instances)
            prepare = self._reader.check if is_action else self._prepare
            prepared = await self._in_thread(lambda: [prepare(model, one) for one in raw])
        if is_action:
            return await self._act(served, request, prepared)
        if request.verb == "explain":
            with self._timed(self.metrics.explain_seconds, model.name):
                results = [await served.explain(one, request.parameters) for one in prepared]
            return ModelAnswer(model.name, model.version, results)
        with self._timed(self.metrics.predict_seconds, model.name):
            predictions = await served.predict(prepared)
        with self._timed(self.metrics.postprocess_seconds, model.name):
            return ModelAnswer(model.name, model.version, checked(model, predictions))

    def _prepare(self, model: ServedModel, raw: Mapping[str, Any]) -> Any:
        instance = self._reader.check(model, raw)
        try:
            return model.preprocess(instance)
        except ServiceError:
            raise
        except Exception as error:
            logger.exception("preprocessing for %s failed", model.name)
            raise ModelFailedError(
                f"preprocessing failed with {type(error).__name__}: see the service's log"
            ) from error

    async def _act(self, served: Served, request: ModelRequest, instances: Sequence[Instance]) -> ModelAnswer:
        action = served.model.actions[request.verb]
        async with self._acting:  # one at a time: each builds on the version that the one before it made
            try:
                result = await self._in_thread(lambda: action(instances, request.parameters))
            except ServiceError:
                raise
            except Exception as error:
                logger.exception("action %s of %s failed", request.verb, served.model.name)
                raise ModelFailedError(
                    f"{request.verb} failed with {type(error).__name__}: see the service's log"
                ) from error
            version = served.model.version
            if result.model is not None:
                version = result.model.version
                await self._replace_default(result.model)
        return ModelAnswer(served.model.name, version, body=result.body)

    async def _replace_default(self, model: ServedModel) -> None:
        if model.name not in self._served:
            raise ModelFailedError(f"an action returned a model of another name: {model.name}")
        versions = self._served[model.name]
        if model.version not in versions:
            self._add(model)
            versions[model.version].start()
        self._default[model.name] = model.version
        while len(versions) > MAX_VERSIONS:
            oldest = list(versions)[1]
            await versions.pop(oldest).close()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _add(self, model: ServedModel) -> None:
        self._served.setdefault(model.name, {})[model.version] = Served(model, self.settings, self.metrics)
        self._default.setdefault(model.name, model.version)

    def _find(self, name: str, version: str | None) -> Served:
        if name not in self._served:
            raise ModelNotFoundError(f"no model {name[:100]!r} is served here; there are: {', '.join(self._served)}")
        versions = self._served[name]
        found = versions.get(self._default[name] if version is None else version)
        if found is None:
            there = ", ".join(versions)
            raise VersionNotFoundError(
                f"version {(version or '')[:100]!r} of model {name} is not served here; there are: {there}"
            )
        return found

    def _verb(self, served: Served, request: ModelRequest) -> str:
        model = served.model
        verbs = ["predict", *(["explain"] if model.explains else []), *model.actions]
        if request.verb not in verbs:
            raise NotFoundError(f"model {model.name} knows no {request.verb[:100]!r}; there are: {', '.join(verbs)}")
        if request.verb in ("predict", "explain") and not request.instances:
            raise InvalidRequestError("no instances: send at least one")
        return request.verb

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    @contextmanager
    def _timed(self, histogram: Any, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            histogram.labels(name).observe(time.perf_counter() - started)
