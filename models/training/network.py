"""A small multilayer perceptron whose graph holds its own preprocessing.

Every feature passes sign(x) log(1 + |x|), is standardised and clipped; a missing value becomes the mean and sets a flag
of its own. The same numbers are used in training and in the exported graph, because the module holds them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from models.training.config import NetworkSettings
from schemas.columns import F32, Bool

STEEP = 3e38
"""clamp(STEEP x, -1, 1) is sign(x), for less: ONNX Runtime takes longer for Sign, and for Where with a row beside a
matrix, than for both layers. Only numbers below float32's normal range come out otherwise, and log(1 + |x|) is 0 there.
"""


class FraudNetwork(nn.Module):  # type: ignore[misc]  # torch's types are not followed
    """(n, F) raw features, NaN for missing -> (n,) fraud probability.

    Features that are always missing, or constant, in training get scale 0: whatever they hold later changes nothing.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    flag_scale: torch.Tensor

    def __init__(self, mean: F32, scale: F32, flag_scale: F32, settings: NetworkSettings) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.register_buffer("flag_scale", torch.from_numpy(flag_scale))
        self.clip = settings.clip
        layers: list[nn.Module] = []
        width = 2 * len(mean)
        for hidden in settings.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(settings.dropout)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def log_odds(self, features: torch.Tensor) -> torch.Tensor:
        """Return the log-odds of fraud, (n,)."""
        missing = torch.isnan(features)  # (n, F)
        flag = missing.to(features.dtype)
        known = torch.where(missing, 0.0, features)
        sign = torch.clamp(known * STEEP, -1.0, 1.0)
        squashed = sign * torch.log1p(torch.abs(known))
        standard = torch.clamp((squashed - self.mean) * self.scale, -self.clip, self.clip) * (1.0 - flag)
        flags = flag * self.flag_scale
        return self.layers(torch.cat([standard, flags], dim=1)).squeeze(1)  # type: ignore[no-any-return]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the probability of fraud, (n,)."""
        return torch.sigmoid(self.log_odds(features))


def fit_network(settings: NetworkSettings, X: F32, is_fraud: Bool, weight: F32 | None = None) -> FraudNetwork:
    """Train a network; equal arguments give equal weights on one machine.

    Parameters
    ----------
    settings
        Shape and training.
    X
        (n, F) features, NaN for missing.
    is_fraud
        (n,) truth.
    weight
        (n,) weights of the rows, 1 each where not given.
    """
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)  # layers this small gain nothing from a second thread, and sums keep their order
    weights = np.ones(len(X), np.float32) if weight is None else weight.astype(np.float32)
    mean, scale, flag_scale = _preprocessing(X, weights)
    network = FraudNetwork(mean, scale, flag_scale, settings)
    share = float(np.average(is_fraud, weights=weights))
    last = network.layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.constant_(last.bias, float(np.log(share / (1.0 - share))))
    features, target, row_weight = (torch.from_numpy(a) for a in (X, is_fraud.astype(np.float32), weights))
    optimizer = torch.optim.AdamW(
        network.layers.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    steps = settings.epochs * (len(X) // settings.batch_size + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps + 1)
    generator = torch.Generator().manual_seed(settings.seed)
    network.train()
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(X), generator=generator).split(settings.batch_size):
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(
                network.log_odds(features[rows]), target[rows], row_weight[rows]
            )
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    return network


def _preprocessing(X: F32, weights: F32) -> tuple[F32, F32, F32]:
    squashed = np.sign(X) * np.log1p(np.abs(X))
    present = ~np.isnan(X)
    total = weights @ present
    filled = np.where(present, squashed, 0.0)
    mean = np.divide(weights @ filled, total, out=np.zeros(X.shape[1], np.float32), where=total > 0)
    square = np.divide(weights @ filled**2, total, out=np.zeros(X.shape[1], np.float32), where=total > 0)
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-3)
    sometimes_missing = (total > 0) & ~present.all(axis=0)
    return mean.astype(np.float32), scale.astype(np.float32), sometimes_missing.astype(np.float32)


def network_probability(network: FraudNetwork, X: F32, batch_size: int = 65_536) -> F32:
    """Score rows with the trained network."""
    with torch.inference_mode():
        parts = [network(torch.from_numpy(X[i : i + batch_size])).numpy() for i in range(0, len(X), batch_size)]
    probability: F32 = np.concatenate(parts).astype(np.float32)
    return probability
