"""What `make models` builds: how much is simulated, which model, which thresholds. All of it fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from models.training.simulator.config import DAY_MS, SimulatorConfig

MODEL_NAME = "weir"
MODEL_VERSION = "1.0.0"
LICENCE = "Apache-2.0"
SHIPPED = Path(__file__).resolve().parents[1] / "shipped" / "weir-1"


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """The gradient-boosted trees. Size is what an event costs: see docs/models.md for the measured trade."""

    trees: int = 80
    leaves: int = 24
    learning_rate: float = 0.1
    min_leaf: int = 60
    seed: int = 0


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Shape and training of the network."""

    hidden: tuple[int, ...] = (32, 16)
    epochs: int = 8
    batch_size: int = 4096
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    dropout: float = 0.1
    clip: float = 6.0  # standard deviations
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything `make models` depends on. Equal configurations give equal models on one machine.

    The main stream starts cold and runs for `days`; its last `test_days` are the test, the `validation_days` before
    them the validation. Cold streams are the first `cold_days` of other, larger populations: a stream that has just
    begun has short histories, and the model must not take every first payment for suspicious.
    """

    accounts: int = 16_000
    days: int = 70
    validation_days: int = 9
    test_days: int = 12
    seed: int = 20_250_106
    cold_accounts: int = 30_000
    cold_days: float = 1.0
    cold_training_streams: int = 5
    # Rows of legitimate transactions kept for training; each stands for 1/share of them.
    legitimate_share: float = 0.25
    batch_size: int = 10_000
    # The drift reference begins here: the longest window of a feature is 30 days, full only then.
    reference_from_day: int = 30
    trees: TreeSettings = field(default_factory=TreeSettings)
    network: NetworkSettings = field(default_factory=lambda: NetworkSettings(epochs=6, batch_size=2048))
    # Thresholds are chosen on validation: decline at this precision, review so that this share of all events alerts.
    decline_precision: float = 0.95
    alert_rate: float = 0.01

    def main_stream(self) -> SimulatorConfig:
        """Return the stream that is split by time."""
        return SimulatorConfig(
            seed=self.seed, accounts=self.accounts, merchants=max(200, self.accounts // 10), days=self.days
        )

    def cold_stream(self, number: int) -> SimulatorConfig:
        """Return a stream that has just begun, on another weekday and at another hour each time."""
        start_ms = SimulatorConfig().start_ms + number * (29 * DAY_MS + 5 * DAY_MS // 24)
        return SimulatorConfig(
            seed=self.seed + 1 + number,
            accounts=self.cold_accounts,
            merchants=max(200, self.cold_accounts // 10),
            days=self.cold_days,
            start_ms=start_ms,
        )


def quick_config() -> TrainingConfig:
    """Return a configuration that trains in half a minute: for tests and for trying the command, not for use."""
    return TrainingConfig(
        accounts=1_500,
        days=24,
        validation_days=5,
        test_days=5,
        cold_accounts=1_500,
        cold_training_streams=1,
        legitimate_share=0.5,
        reference_from_day=7,
        trees=TreeSettings(trees=20, leaves=8),
        network=NetworkSettings(epochs=2, batch_size=2048),
    )
