"""A seeded population, its payments, and the fraud and laundering among them."""

from models.training.simulator.config import (
    FRAUD_PATTERNS,
    LAUNDERING_PATTERNS,
    PATTERNS,
    LabelDelays,
    SimulatorConfig,
    SimulatorError,
)
from models.training.simulator.encoded import EncodedBatch, encode_batch, encode_stream
from models.training.simulator.faults import Delivery, FaultInjector, FaultPlan
from models.training.simulator.simulate import SimulatedBatch, Simulator

__all__ = [
    "FRAUD_PATTERNS",
    "LAUNDERING_PATTERNS",
    "PATTERNS",
    "Delivery",
    "EncodedBatch",
    "FaultInjector",
    "FaultPlan",
    "LabelDelays",
    "SimulatedBatch",
    "Simulator",
    "SimulatorConfig",
    "SimulatorError",
    "encode_batch",
    "encode_stream",
]
