"""What the settings say of evidence: who is asked about what, how, and how much an answer counts."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from jobs.settings import Settings
from models.evidence.breaker import BreakerPolicy
from models.evidence.gatherer import GatherPolicy
from models.evidence.question import ServiceModel
from models.evidence.retry import RetryPolicy
from models.scoring.evidence_policy import AskedService, EvidencePolicy
from models.scoring.evidence_rule import EvidenceWeight

FIELDS = {"vision": ("image",), "text": ("text",), "multimodal": ("image", "payment")}
"""What each service is shown. Those that are shown no image are asked about the memo."""


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """One service as the gathering job reaches it."""

    url: str
    token: SecretStr | None
    model: ServiceModel


def service_addresses(settings: Settings) -> dict[str, ServiceAddress]:
    """Return the services whose address is set, by name."""
    found = {}
    for name, fields in FIELDS.items():
        if url := getattr(settings, f"evidence_{name}_url"):
            model = ServiceModel(name, getattr(settings, f"evidence_{name}_output"), fields)
            found[name] = ServiceAddress(url, getattr(settings, f"evidence_{name}_token"), model)
    return found


def evidence_policy(settings: Settings) -> EvidencePolicy:
    """Return what the scoring job asks for; nothing where no address is set."""
    return EvidencePolicy(
        services=tuple(
            AskedService(name, getattr(settings, f"evidence_{name}_version"), "image" not in address.model.fields)
            for name, address in service_addresses(settings).items()
        ),
        budget_ms=round(settings.evidence_budget_seconds * 1000),
        max_references=settings.evidence_references,
    )


def gather_policy(settings: Settings) -> GatherPolicy:
    """Return how a service is asked."""
    return GatherPolicy(
        budget_seconds=settings.evidence_budget_seconds,
        attempt_seconds=settings.evidence_attempt_seconds,
        trial_seconds=min(2.0, settings.evidence_attempt_seconds),
        concurrency=settings.evidence_concurrency,
        retry=RetryPolicy(attempts=settings.evidence_attempts),
        breaker=BreakerPolicy(settings.evidence_breaker_failures, settings.evidence_breaker_seconds),
    )


def evidence_weights(settings: Settings) -> dict[str, EvidenceWeight]:
    """Return how much the answers of each service count."""
    return {
        name: EvidenceWeight(
            getattr(settings, f"evidence_{name}_weight"),
            settings.evidence_prior,
            settings.evidence_burden,
            settings.evidence_relief,
        )
        for name in FIELDS
    }
