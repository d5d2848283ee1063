"""A model in service: its threads, its batcher, and whether it is ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from models.services.base.dataplane.batcher import Batcher
from models.services.base.errors import ModelFailedError, ServiceError
from models.services.base.metrics import ServiceMetrics
from models.services.base.model import ServedModel
from models.services.base.settings import ServiceSettings

logger = logging.getLogger(__name__)

T = TypeVar("T")
CLOSE_SECONDS = 2.0  # a batch that runs as the service ends gets so long


class Served:
    """One model of one version, with one thread that predicts and one that explains."""

    def __init__(self, model: ServedModel, settings: ServiceSettings, metrics: ServiceMetrics) -> None:
        self.model = model
        self.is_ready = False
        self._predicting = ThreadPoolExecutor(1, thread_name_prefix=f"predict-{model.name}")
        self._explaining = ThreadPoolExecutor(1, thread_name_prefix=f"explain-{model.name}")
        size, waited = metrics.batch_size.labels(model.name), metrics.queue_wait_seconds.labels(model.name)

        def observe(batch_size: int, waited_seconds: float) -> None:
            size.observe(batch_size)
            waited.observe(waited_seconds)

        self._batcher = Batcher(
            lambda prepared: self._run(self._predicting, lambda: model.predict(prepared)),
            max_batch_size=min(settings.max_batch_size, model.max_batch_size),
            max_delay_seconds=settings.max_queue_delay_ms / 1000,
            max_queue_size=settings.max_queue_size,
            observe=observe,
        )
        metrics.queue_size.labels(model.name).set_function(lambda: len(self._batcher))

    async def load(self) -> None:
        """Load the model in its own thread, then take requests."""
        await self._run(self._predicting, self.model.load)
        self.start()

    def start(self) -> None:
        """Take requests for a model that is loaded already."""
        self._batcher.start()
        self.is_ready = True

    async def predict(self, prepared: Sequence[Any]) -> Sequence[Any]:
        """Predict by way of the batcher."""
        return await self._batcher.submit(prepared)

    async def explain(self, prepared: Any, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Explain one instance."""
        try:
            return await self._run(self._explaining, lambda: self.model.explain(prepared, parameters))
        except ServiceError:
            raise
        except Exception as error:
            logger.exception("an explanation by %s failed", self.model.name)
            raise ModelFailedError(
                f"the explanation failed with {type(error).__name__}: see the service's log"
            ) from error

    async def close(self) -> None:
        """Answer nothing more; the model is freed once what runs has ended."""
        if self.is_ready:
            self.is_ready = False
            await self._batcher.close()
            try:
                await asyncio.wait_for(self._run(self._predicting, self.model.close), CLOSE_SECONDS)
            except TimeoutError:
                logger.warning("model %s does not come back: it is left behind", self.model.name)
        self._predicting.shutdown(wait=False, cancel_futures=True)
        self._explaining.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    async def _run(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, work)
