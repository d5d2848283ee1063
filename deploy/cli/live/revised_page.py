"""The demo's page of one revised alert, with the truth about its document."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deploy.archive.places import planted
from deploy.cli.alert_page.collect import collect, records_about
from deploy.cli.alert_page.page import alert_page
from deploy.cli.live.gathering import Gathering
from jobs.settings import Settings


def write_page(settings: Settings, gathering: Gathering, transaction_id: str, path: Path) -> None:
    """Write the page of the alert on a transaction, while the stack and its services still run.

    Raises
    ------
    ReadError, OSError, ValueError
        If the topics or the alert cannot be read, or the file cannot be written.
    """
    decisions = records_about(settings, settings.topics.decisions, "decision", transaction_id)
    decision = decisions[-1] if decisions else None
    dossier = collect(settings, transaction_id, gathering.document_settings, decision=decision)
    if dossier is None:
        raise ValueError(f"there is no alert on {transaction_id}")
    truth = planted(gathering.archive.folder).get(transaction_id, "nothing that is known")
    documents = [replace(one, note=f"What the simulator planted: {truth}.") for one in dossier.documents]
    path.write_text(alert_page(replace(dossier, documents=documents)), "utf-8", "replace")
