"""The decider and the rules that the settings name, for commands that decide without the job."""

from __future__ import annotations

from pathlib import Path

from deploy.cli.context import fail
from jobs.core_settings import starting_rules
from jobs.settings import Settings
from models.scoring.decider import Decider, rule_columns
from models.scoring.errors import ModelError, RuleError
from models.scoring.model import ScoringModel
from models.scoring.rules import Rule, RuleSet, rules_of


def load_model(settings: Settings, name: str | None) -> ScoringModel:
    """Load a model named as NAME@VERSION or by its folder, that of the settings where none is; ends the command with
    what is wrong.
    """
    from deploy.cli.replay.planning import PlanError, model_folder

    try:
        return ScoringModel.load(Path(model_folder(settings, name) or settings.models_dir))
    except (ModelError, PlanError) as error:
        fail(str(error))


def rules_at_start(settings: Settings, path: Path | None) -> tuple[Rule, ...]:
    """Return the rules of a file, or those that the scoring job starts with; ends the command with what is wrong."""
    try:
        return starting_rules(settings) if path is None else rules_of(path.read_text("utf-8"))
    except (RuleError, ValueError) as error:
        fail(f"{path or settings.rules_file}: {error}")


def load_decider(settings: Settings, model: str | None, rules: Path | None) -> Decider:
    """Return the decider of a model and rules, each as the settings say where none is named."""
    try:
        compiled = RuleSet.compile(rules_at_start(settings, rules), rule_columns())
        return Decider(load_model(settings, model), compiled)
    except (RuleError, ModelError) as error:
        fail(str(error))
