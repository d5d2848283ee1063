"""A seeded population, its payments, and the fraud and laundering among them."""

from models.training.simulator.config import (
    FRAUD_PATTERNS,
    LAUNDERING_PATTERNS,
    PATTERNS,
    LabelDelays,
    SimulatorConfig,
    SimulatorError,
)
from models.training.simulator.simulate import SimulatedBatch, Simulator

__all__ = [
    "FRAUD_PATTERNS",
    "LAUNDERING_PATTERNS",
    "PATTERNS",
    "LabelDelays",
    "SimulatedBatch",
    "Simulator",
    "SimulatorConfig",
    "SimulatorError",
]
