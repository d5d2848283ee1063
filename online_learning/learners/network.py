"""A small network that learns by mini-batches of fresh and replayed rows.

Learning needs torch (extra `train`), scoring does not.

After every `batch_labels` labels there is one mini-batch: these labels, and rows drawn from two replay buffers, one
of frauds and one of legitimate rows, so that rare frauds are met again and again. The logit is shifted by how much
more frequent frauds are in the mini-batch than in the stream; scores stay probabilities of the stream. One step of
Adam follows, its gradient clipped.

References
----------
Kingma, Ba: Adam, 2015, https://arxiv.org/abs/1412.6980
King, Zeng: Logistic regression in rare events data, 2001, https://doi.org/10.1093/oxfordjournals.pan.a004868
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from online_learning.learners.errors import MissingLibraryError
from online_learning.learners.network_kernels import fill_inputs, remember, replayed, score
from online_learning.learners.packed import pack, unpack
from online_learning.learners.rows import as_labels, as_rows, as_weights, row_of
from online_learning.learners.scaling import LIMIT, inverse_deviations, observe_many
from schemas.columns import F32, F64, U8, Bool

VERSION = 1
"""Of snapshot and parameters. Raised when the meaning of a field changes; other versions are refused."""
KIND = "replay-network"
PARAMETERS_KIND = "replay-network-parameters"

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8  # the paper's


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Size of the network, and how it learns.

    Parameters
    ----------
    hidden
        Units of the two hidden layers.
    learning_rate, decay
        Of Adam; the pull of every weight towards zero, per step and relative to the learning rate.
    batch_labels
        Fresh rows of a mini-batch: the network learns when so many labels came.
    replayed_frauds, replayed_legitimate
        Rows of a mini-batch from the buffers.
    kept_frauds, kept_legitimate
        Rows that the buffers hold: the last frauds; legitimate rows of a mean age of so many rows.
    largest_norm
        The gradient is scaled down to this.
    scaling_memory
        Rows over which mean and variance of a feature are taken, once so many were seen.
    """

    hidden: tuple[int, int] = (64, 32)
    learning_rate: float = 0.003
    decay: float = 0.01
    batch_labels: int = 64
    replayed_frauds: int = 32
    replayed_legitimate: int = 64
    kept_frauds: int = 2048
    kept_legitimate: int = 8192
    largest_norm: float = 5.0
    scaling_memory: float = 1_000_000.0


class ReplayNetwork:
    """A network of two hidden layers with replay buffers.

    Scores are worth trusting after some tens of frauds; a label counts in them once its mini-batch is full. Equal
    seeds and labels give equal bits with the same build of torch. Memory: 43 KB a feature with the default settings.

    Parameters
    ----------
    feature_names
        The F columns, in their order.
    seed
        Of first weights and replay.
    settings
        Size and learning.

    Raises
    ------
    MissingLibraryError
        If torch is not installed.
    """

    name = KIND

    def __init__(self, feature_names: tuple[str, ...], seed: int = 0, settings: NetworkSettings | None = None) -> None:
        try:
            import torch  # not installed where the network only scores
        except ImportError as error:
            raise MissingLibraryError("the replay network learns with torch: install weir[train]") from error
        self._torch: Any = torch
        self.feature_names = feature_names
        self.settings = s = settings or NetworkSettings()
        self._seed = seed
        features = len(feature_names)
        sizes = (2 * features, *s.hidden, 1)  # values and absences
        random = np.random.default_rng(seed)
        self._layers: list[F32] = []  # weights (in, out) and biases (out,), in turn
        for inputs, outputs in pairwise(sizes):
            self._layers.append((random.standard_normal((inputs, outputs)) * (2.0 / inputs) ** 0.5).astype(np.float32))
            self._layers.append(np.zeros(outputs, np.float32))
        self._moments = [np.zeros((2, *layer.shape), np.float32) for layer in self._layers]
        # Labels of weight: legitimate, fraud; rows put into the buffers: legitimate, fraud; labels of any weight.
        self._counts = np.zeros(5, np.int64)
        self._scaling = np.zeros((3, features))  # count, mean, variance
        self._fresh = np.full((s.batch_labels, features + 2), np.nan, np.float32)  # rows with label and weight
        self._legitimate = np.full((s.kept_legitimate, features + 2), np.nan, np.float32)
        self._frauds = np.full((s.kept_frauds, features + 2), np.nan, np.float32)

    @property
    def labels_seen(self) -> int:
        """How many labels were learned, or wait for their mini-batch."""
        return int(self._counts[4])

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays held."""
        return sum(array.nbytes for array in self._arrays().values())

    def learn_many(self, X: F32, y: U8 | Bool, weight: F32 | None = None) -> None:
        """Learn rows in their order; see `Learner.learn_many`. Equal to a loop of `learn_one`, bit for bit."""
        rows = as_rows(X, len(self.feature_names))
        labels = as_labels(y, len(rows))
        weights = as_weights(weight, len(rows))
        labelled = np.concatenate([rows, labels[:, None], weights[:, None]], axis=1, dtype=np.float32)
        size = self.settings.batch_labels
        start = 0
        while start < len(labelled):
            waiting = self.labels_seen % size
            part = labelled[start : start + size - waiting]
            self._fresh[waiting : waiting + len(part)] = part
            observe_many(part[:, :-2], self.settings.scaling_memory, *self._scaling)
            self._counts[0] += np.count_nonzero((part[:, -2] == 0) & (part[:, -1] > 0))
            self._counts[1] += np.count_nonzero((part[:, -2] == 1) & (part[:, -1] > 0))
            self._counts[4] += len(part)
            start += len(part)
            if waiting + len(part) == size:
                self._learn_batch()
                remember(self._fresh, self._seed, self._counts, self._legitimate, self._frauds)

    def learn_one(self, x: Mapping[str, float], y: bool) -> None:
        """Learn one row."""
        self.learn_many(row_of(x, self.feature_names), np.array([y], np.bool_))

    def predict_proba_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud."""
        return self._scorer().score_many(X)

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """Return the probabilities of False and True."""
        fraud = float(self.predict_proba_many(row_of(x, self.feature_names))[0])
        return {False: 1.0 - fraud, True: fraud}

    def parameters(self) -> bytes:
        """Return weights and scaling: 528 bytes a feature with the default settings."""
        return self._scorer().pack()

    def snapshot(self) -> bytes:
        """Return the whole state."""
        fields = {"feature_names": list(self.feature_names), "seed": self._seed, "settings": asdict(self.settings)}
        return pack(KIND, VERSION, fields, self._arrays())

    @classmethod
    def restore(cls, snapshot: bytes) -> Self:
        """Return the learner that the snapshot was taken of."""
        packed = unpack(snapshot, KIND, VERSION)
        fields = packed.fields
        settings = NetworkSettings(**{**fields["settings"], "hidden": tuple(fields["settings"]["hidden"])})
        learner = cls(tuple(fields["feature_names"]), fields["seed"], settings)
        for name, array in learner._arrays().items():
            array[...] = packed.arrays[name]
        return learner

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays: dict[str, npt.NDArray[Any]] = {
            "counts": self._counts,
            "scaling": self._scaling,
            "fresh": self._fresh,
            "legitimate": self._legitimate,
            "frauds": self._frauds,
        }
        arrays |= {f"layer-{i}": layer for i, layer in enumerate(self._layers)}
        return arrays | {f"moments-{i}": moments for i, moments in enumerate(self._moments)}

    def _learn_batch(self) -> None:
        s = self.settings
        steps = self.labels_seen // s.batch_labels
        drawn = replayed(
            self._seed, steps, self._counts, self._legitimate, self._frauds, s.replayed_legitimate, s.replayed_frauds
        )
        batch = np.concatenate([self._fresh, drawn])
        features = len(self.feature_names)
        inputs = np.empty((len(batch), 2 * features), np.float32)
        _, mean, variance = self._scaling
        fill_inputs(batch[:, :-2], mean, inverse_deviations(variance), LIMIT, inputs)
        share = (self._counts[1] + 1.0) / (self._counts[0] + self._counts[1] + 2.0)
        frauds = s.batch_labels * share + s.replayed_frauds * (self._counts[3] > 0)
        legitimate = s.batch_labels * (1.0 - share) + s.replayed_legitimate * (self._counts[2] > 0)
        shift = float(np.log(frauds / legitimate) - np.log(share / (1.0 - share)))
        torch = self._torch
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums over several threads differ in their last bits
        try:
            gradients = self._gradients(inputs, batch[:, -2], batch[:, -1], shift)
        finally:
            torch.set_num_threads(threads)
        self._step(gradients, steps)

    def _gradients(self, inputs: F32, labels: F32, weights: F32, shift: float) -> list[F32]:
        torch = self._torch
        layers = [torch.tensor(layer, requires_grad=True) for layer in self._layers]
        hidden = torch.from_numpy(inputs)
        for i in range(0, len(layers), 2):
            hidden = hidden @ layers[i] + layers[i + 1]  # (n, units)
            if i + 2 < len(layers):
                hidden = torch.relu(hidden)
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            hidden[:, 0] + shift,
            torch.from_numpy(np.ascontiguousarray(labels)),
            torch.from_numpy(np.ascontiguousarray(weights)),
            reduction="sum",
        )
        return [gradient.numpy() for gradient in torch.autograd.grad(losses / len(inputs), layers)]

    def _step(self, gradients: list[F32], steps: int) -> None:
        s = self.settings
        norm = float(np.sqrt(sum(float((gradient.astype(np.float64) ** 2).sum()) for gradient in gradients)))
        if not np.isfinite(norm):
            return  # weights beyond what float32 can multiply; the batch teaches nothing
        scale = np.float32(min(1.0, s.largest_norm / (norm + 1e-12)))
        rate = s.learning_rate * (1.0 - _BETA_2**steps) ** 0.5 / (1.0 - _BETA_1**steps)
        for layer, moments, gradient in zip(self._layers, self._moments, gradients, strict=True):
            clipped = gradient * scale
            moments[0] = _BETA_1 * moments[0] + (1.0 - _BETA_1) * clipped
            moments[1] = _BETA_2 * moments[1] + (1.0 - _BETA_2) * clipped**2
            layer -= np.float32(rate) * moments[0] / (np.sqrt(moments[1]) + np.float32(_EPSILON))
            layer *= np.float32(1.0 - s.learning_rate * s.decay)

    def _scorer(self) -> NetworkScorer:
        _, mean, variance = self._scaling
        layers = tuple(layer.copy() for layer in self._layers)
        return NetworkScorer(self.feature_names, self.labels_seen, layers, mean.copy(), inverse_deviations(variance))


@dataclass(frozen=True, slots=True)
class NetworkScorer:
    """Weights and scaling, ready to score without torch.

    Parameters
    ----------
    layers
        Weights (in, out) and biases (out,) of three layers, in turn.
    mean, scale
        (F,) each: a value x is standardised to (x - mean) * scale.
    """

    feature_names: tuple[str, ...]
    labels_seen: int
    layers: tuple[F32, ...]
    mean: F64
    scale: F64

    def score_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud."""
        rows = as_rows(X, len(self.feature_names))
        scores = np.empty(len(rows), np.float32)
        inputs = np.empty((len(rows), 2 * len(self.feature_names)), np.float32)
        fill_inputs(rows, self.mean, self.scale, LIMIT, inputs)
        score(inputs, *self.layers, scores)
        return scores

    def pack(self) -> bytes:
        """Return the scorer as bytes."""
        fields: dict[str, Any] = {"feature_names": list(self.feature_names), "labels_seen": self.labels_seen}
        arrays: dict[str, npt.NDArray[Any]] = {f"layer-{i}": layer for i, layer in enumerate(self.layers)}
        return pack(PARAMETERS_KIND, VERSION, fields, arrays | {"mean": self.mean, "scale": self.scale})

    @classmethod
    def unpack(cls, parameters: bytes) -> Self:
        """Return the scorer that `pack` was called on."""
        packed = unpack(parameters, PARAMETERS_KIND, VERSION)
        arrays = packed.arrays
        layers = tuple(arrays[f"layer-{i}"] for i in range(len(arrays) - 2))
        names, labels_seen = packed.fields["feature_names"], packed.fields["labels_seen"]
        return cls(tuple(names), labels_seen, layers, arrays["mean"], arrays["scale"])
