"""The one typed object that a process is configured by.

Precedence: command-line flag > environment (``WEIR_...``) > file (``weir.toml``, then what ``weir up`` wrote) >
default. Built once,
in ``main``, and passed down; nothing else reads the environment.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parents[1]
DEFAULT_HOME = REPOSITORY / ".weir"
DEFAULT_MODEL = REPOSITORY / "models" / "shipped" / "weir-1"
SETTINGS_FILE = "weir.toml"
BROKER_TRANSACTION_LIMIT_SECONDS = 900  # Kafka's own transaction.max.timeout.ms: a longer transaction is refused

_URL_PASSWORD = re.compile(r"(://[^:/@]*:)[^@/]*@")

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
RiskLabels = Literal["raw", "matured"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class SettingsError(Exception):
    """The settings contradict each other or cannot be read; the message names the field, and what to do."""


@dataclass(frozen=True)
class Topics:
    """Full names of the topics."""

    transactions: str
    labels: str
    decisions: str
    alerts: str
    dead_letters: str
    duplicates: str
    control: str
    model_updates: str
    drift: str
    shadow_alerts: str
    matured_labels: str
    evidence_requests: str
    evidence: str


class Settings(BaseSettings):
    """Everything that can be set, frozen.

    Examples
    --------
    >>> Settings.load(environment={}, files=(), shards=4, parallelism=2).topics.dead_letters
    'weir.dead-letters'
    """

    model_config = SettingsConfigDict(env_prefix="WEIR_", frozen=True, extra="forbid", case_sensitive=False)

    # -- where things are
    bootstrap_servers: str = Field("127.0.0.1:9092", min_length=1, description="Kafka: HOST:PORT, several by comma.")
    schema_registry_url: str | None = Field(
        None, description="Confluent schema registry, for producers that frame by schema id; none is needed otherwise."
    )
    schema_registry_user_info: SecretStr | None = Field(None, description="USER:PASSWORD of the schema registry.")
    flink_rest_url: str = Field("http://127.0.0.1:8081", description="REST interface of Flink's JobManager.")
    redis_url: str | None = Field(
        None, description="Redis with watch-lists and reference data; without one every decision says degraded."
    )
    home_dir: Path = Field(DEFAULT_HOME, description="Folder of the embedded stack: data, logs, jars, caches.")
    models_dir: Path = Field(DEFAULT_MODEL, description="Folder of the scoring model: card.json and what it names.")
    shadow_models_dir: Path | None = Field(
        None, description="Folder of a second model that is tried out beside the first, and decides nothing."
    )
    rules_file: Path | None = Field(None, description="JSON file of rules to start with; none means the shipped ones.")

    # -- Kafka
    topic_prefix: str = Field("weir.", pattern=r"^[a-zA-Z0-9._-]*$", description="Put before each topic's name.")
    group_id: str = Field(
        "weir-scoring", min_length=1, description="Consumer group whose committed offsets show the lag."
    )
    transactional_id_prefix: str = Field(
        "weir-decisions",
        min_length=1,
        description="Of the exactly-once sink: unique per job, and the same over its restarts.",
    )
    transaction_timeout_seconds: int = Field(
        600,
        ge=10,
        description="After which the broker aborts an open transaction: longer than a checkpoint and a restart, and at "
        "most the broker's transaction.max.timeout.ms (15 min).",
    )
    start_from: Literal["committed", "earliest", "latest"] = Field(
        "committed", description="Where a job without a checkpoint begins; committed falls back to earliest."
    )
    kafka_linger_ms: int = Field(1, ge=0, le=1000, description="How long a producer waits for company for a record.")
    kafka_security_protocol: SecurityProtocol = Field("PLAINTEXT", description="How clients talk to the broker.")
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="How clients log in, with SASL_PLAINTEXT and SASL_SSL."
    )
    kafka_sasl_username: str | None = Field(None, description="User for SASL.")
    kafka_sasl_password: SecretStr | None = Field(None, description="Password for SASL.")
    kafka_ssl_ca_file: Path | None = Field(None, description="PEM file of the authorities trusted for SSL.")

    # -- the job
    shards: int = Field(
        2,
        ge=1,
        le=128,
        description="Entity shards; fixed for the job's life. About one or two a slot: more make the batches small.",
    )
    parallelism: int = Field(
        1,
        ge=1,
        le=128,
        description="Flink parallelism = TaskManagers of one slot that it needs. About half the cores: each slot keeps "
        "two busy, and more slots make the batches small.",
    )
    microbatch_ms: int = Field(
        20, ge=1, le=1000, description="How long records are gathered before they cross into Python."
    )
    buffer_timeout_ms: int = Field(
        2, ge=0, le=1000, description="How long a record waits in a network buffer for company."
    )
    checkpoint_interval_seconds: float = Field(
        2.0,
        ge=0.1,
        le=600,
        description="Between checkpoints; a read_committed reader of decisions waits for the next one.",
    )
    entity_wait_ms: int = Field(
        5_000,
        ge=10,
        description="How long a transaction waits for the partial features of another shard before it is degraded.",
    )
    dedupe_horizon: int = Field(
        1_048_576, ge=1, description="Transaction ids remembered per home shard; an older duplicate is scored again."
    )
    max_touches_per_track: int = Field(
        16_384,
        ge=32,
        le=65_536,
        description="Events remembered per entity and role; the oldest are forgotten beyond that.",
    )
    risk_labels: RiskLabels = Field(
        "raw",
        description="Labels that the risk features count: raw, every one of the topic labels as it comes; or matured, "
        "those that the learner job lets stand (topic matured-labels), none where that job does not run.",
    )
    reference_budget_ms: int = Field(5, ge=0, le=1000, description="Longest wait for Redis per batch; 0 never asks.")
    max_record_bytes: int = Field(
        1_048_576, ge=1024, le=16_777_216, description="A larger record becomes a dead letter."
    )
    max_future_seconds: int = Field(
        86_400, ge=0, description="How far an event time may lie after the record's Kafka time."
    )

    # -- the learner job
    learner: str = Field("logistic-regression", description="Learner that follows the labels.")
    learner_mode: Literal["combine", "shadow", "off"] = Field(
        "combine",
        description="In scoring: combine the learner's score with the model's, only record it (shadow), or neither.",
    )
    labels_per_second: int = Field(
        1_000, ge=1, le=1_000_000, description="Labels that one source may teach for ever; those beyond are counted."
    )
    label_burst: int = Field(100_000, ge=1, description="Labels that one source may teach at once after a pause.")
    decision_lifetime_days: float = Field(
        30.0, gt=0, description="How long a decision waits for its label, in event time."
    )
    label_lifetime_days: float = Field(
        7.0, gt=0, description="How long a label waits for its decision, in event time, before it counts as unmatched."
    )
    watch_features: bool = Field(
        True,
        description="Compare the features of each day's decisions with those that the model was trained on; needs a "
        "model that comes with a drift reference.",
    )
    publish_interval_seconds: float = Field(
        1.0, ge=0.1, description="At most so often the learner's parameters are published."
    )
    idle_seconds: float = Field(
        5.0,
        ge=0,
        description="Learning goes on without a partition that was silent for so long; 0 waits for it for ever, and "
        "what is learned then never depends on the order of arrival.",
    )

    # -- evidence: a service is asked as soon as its address is set, in scoring and in the job that gathers
    evidence_vision_url: str | None = Field(None, description="Address of the service that looks at documents.")
    evidence_vision_version: str = Field("", description="Version of its model that questions are pinned to.")
    evidence_vision_token: SecretStr | None = Field(None, description="Bearer token for it.")
    evidence_vision_weight: float = Field(0.5, ge=0, le=1, description="How much its answers count.")
    evidence_vision_output: str = Field(
        "forged_probability",
        min_length=1,
        description="Its output that is a probability of fraud; 1-NAME for 1 - NAME.",
    )
    evidence_text_url: str | None = Field(None, description="Address of the service that reads memos.")
    evidence_text_version: str = Field("", description="Version of its model that questions are pinned to.")
    evidence_text_token: SecretStr | None = Field(None, description="Bearer token for it.")
    evidence_text_weight: float = Field(0.5, ge=0, le=1, description="How much its answers count.")
    evidence_text_output: str = Field(
        "risk", min_length=1, description="Its output that is a probability of fraud; 1-NAME for 1 - NAME."
    )
    evidence_multimodal_url: str | None = Field(
        None, description="Address of the service that compares documents with payments."
    )
    evidence_multimodal_version: str = Field("", description="Version of its model that questions are pinned to.")
    evidence_multimodal_token: SecretStr | None = Field(None, description="Bearer token for it.")
    evidence_multimodal_weight: float = Field(0.5, ge=0, le=1, description="How much its answers count.")
    evidence_multimodal_output: str = Field(
        "1-match_probability",
        min_length=1,
        description="Its output that is a probability of fraud; 1-NAME for 1 - NAME.",
    )
    evidence_prior: float = Field(
        0.05, gt=0, lt=1, description="Probability that a service gives an ordinary document: it shifts no score."
    )
    evidence_burden: float = Field(4.0, ge=0, description="Most that a service may add to the log-odds of a score.")
    evidence_relief: float = Field(1.0, ge=0, description="Most that a service may take from the log-odds of a score.")
    evidence_budget_seconds: float = Field(
        10.0, ge=0.1, le=60, description="From an alert on, after which it waits for no evidence any more."
    )
    evidence_attempt_seconds: float = Field(6.0, ge=0.05, le=60, description="Longest wait for one call to a service.")
    evidence_attempts: int = Field(3, ge=1, le=20, description="Calls for one piece of evidence, at most.")
    evidence_concurrency: int = Field(32, ge=1, le=1_000, description="Calls to one service at a time.")
    evidence_references: int = Field(4, ge=1, le=100, description="Documents of a transaction that are asked about.")
    evidence_breaker_failures: int = Field(
        5, ge=1, description="Failures in a row after which a service is left alone for a while."
    )
    evidence_breaker_seconds: float = Field(15.0, ge=0, description="How long it is left alone.")
    evidence_memory_hours: float = Field(
        24.0, gt=0, description="How long a request is known as answered; a duplicate that comes later is asked again."
    )

    # -- the process
    log_level: LogLevel = Field("INFO", description="Least severe message that is logged.")

    @property
    def topics(self) -> Topics:
        """Full names of the topics."""
        names = (
            "transactions",
            "labels",
            "decisions",
            "alerts",
            "dead-letters",
            "duplicates",
            "control",
            "model-updates",
            "drift",
            "shadow-alerts",
            "matured-labels",
            "evidence-requests",
            "evidence",
        )
        return Topics(*(self.topic_prefix + name for name in names))

    @property
    def risk_labels_topic(self) -> str:
        """Full name of the topic whose labels the risk features count."""
        return self.topics.matured_labels if self.risk_labels == "matured" else self.topics.labels

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the constructor only: `load` merges the levels itself, so that each can be tested."""
        return (init_settings,)

    @classmethod
    def load(
        cls,
        *,
        environment: Mapping[str, str] | None = None,
        files: tuple[Path, ...] | None = None,
        **flags: Any,
    ) -> "Settings":
        """Merge flags, environment, files and defaults.

        Parameters
        ----------
        environment
            Variables to read; the process's own by default.
        files
            Settings files, the first wins: TOML, or JSON as ``weir up`` writes it. Default: ``weir.toml`` of the
            working
            folder, then ``stack.json`` of the home folder. Files that do not exist are skipped, unless named here.
        flags
            Values given on the command line; None means not given.

        Raises
        ------
        SettingsError
            A value is wrong, unknown, or contradicts another one.
        """
        variables = _from_environment(os.environ if environment is None else environment)
        given = {name: value for name, value in flags.items() if value is not None}
        if files is None:
            own = _read_file(Path(SETTINGS_FILE)) if Path(SETTINGS_FILE).exists() else {}
            home = Path(given.get("home_dir") or variables.get("home_dir") or own.get("home_dir") or DEFAULT_HOME)
            stack = _read_file(home / "stack.json") if (home / "stack.json").exists() else {}
            levels = [own, stack]
        else:
            levels = [_read_file(path) for path in files]
        merged: dict[str, Any] = {}
        for level in (*reversed(levels), variables, given):
            merged.update(level)
        try:
            return cls(**merged)
        except ValidationError as error:
            raise SettingsError(_explain(error)) from error

    @model_validator(mode="after")
    def _check_together(self) -> "Settings":
        """Refuse settings that are fine one by one and wrong together."""
        if self.transaction_timeout_seconds > BROKER_TRANSACTION_LIMIT_SECONDS:
            raise ValueError(
                f"transaction_timeout_seconds is {self.transaction_timeout_seconds}, above the broker's limit of "
                f"{BROKER_TRANSACTION_LIMIT_SECONDS}: the sink would be refused at its first record"
            )
        if self.transaction_timeout_seconds < 5 * self.checkpoint_interval_seconds:
            raise ValueError(
                f"transaction_timeout_seconds ({self.transaction_timeout_seconds}) must be at least five "
                f"checkpoint intervals "
                f"({self.checkpoint_interval_seconds} s each): a transaction lives from one checkpoint to the "
                f"next, and "
                f"through a restart, and decisions of an expired one are lost"
            )
        if self.shards < self.parallelism:
            raise ValueError(
                f"shards ({self.shards}) is below parallelism ({self.parallelism}): some TaskManagers would "
                f"hold no entities"
            )
        if self.entity_wait_ms < 2 * self.microbatch_ms:
            raise ValueError(
                f"entity_wait_ms ({self.entity_wait_ms}) is below two micro-batches ({self.microbatch_ms} ms "
                f"each): every "
                f"decision would be degraded"
            )
        if self.evidence_attempt_seconds > self.evidence_budget_seconds:
            raise ValueError(
                f"evidence_attempt_seconds ({self.evidence_attempt_seconds}) is above evidence_budget_seconds "
                f"({self.evidence_budget_seconds}): no call could take so long"
            )
        sasl = self.kafka_security_protocol.startswith("SASL")
        if sasl and not (self.kafka_sasl_mechanism and self.kafka_sasl_username and self.kafka_sasl_password):
            raise ValueError(
                f"kafka_security_protocol {self.kafka_security_protocol} needs kafka_sasl_mechanism, "
                f"kafka_sasl_username and "
                f"kafka_sasl_password"
            )
        if not sasl and self.kafka_sasl_mechanism:
            raise ValueError(
                f"kafka_sasl_mechanism is set and kafka_security_protocol is {self.kafka_security_protocol}: "
                f"the password "
                f"would not be used; set SASL_SSL"
            )
        return self

    def as_environment(self) -> dict[str, str]:
        """Everything that differs from the defaults as ``WEIR_`` variables, secrets in clear: for a child process."""
        changed = {name: value for name, value in self if value != type(self).model_fields[name].default}
        return {
            f"WEIR_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in changed.items()
            if value is not None
        }

    def masked(self) -> dict[str, Any]:
        """Effective values for printing, secrets as stars."""
        return {name: _shown(value) for name, value in self}


def kafka_properties(settings: Settings, **overrides: Any) -> dict[str, Any]:
    """Client properties of librdkafka (confluent-kafka): address and security, then `overrides` (dots as underscores).

    >>> kafka_properties(Settings.load(environment={}, files=()), group_id="g")["group.id"]
    'g'
    """
    properties: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap_servers,
        "security.protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_sasl_mechanism and settings.kafka_sasl_password:
        properties["sasl.mechanism"] = settings.kafka_sasl_mechanism
        properties["sasl.username"] = settings.kafka_sasl_username
        properties["sasl.password"] = settings.kafka_sasl_password.get_secret_value()
    if settings.kafka_ssl_ca_file:
        properties["ssl.ca.location"] = str(settings.kafka_ssl_ca_file)
    return {**properties, **{name.replace("_", "."): value for name, value in overrides.items()}}


def flink_kafka_properties(settings: Settings) -> dict[str, str]:
    """Properties of the Java client inside Flink's connector: address and security.

    The connector carries the client under another package name, and so is the login module's.
    """
    shaded = "org.apache.flink.kafka.shaded."
    properties = {
        "bootstrap.servers": settings.bootstrap_servers,
        "security.protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_sasl_mechanism and settings.kafka_sasl_password:
        kind = "plain.PlainLoginModule" if settings.kafka_sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
        user = _jaas_quoted(settings.kafka_sasl_username or "")
        password = _jaas_quoted(settings.kafka_sasl_password.get_secret_value())
        properties["sasl.mechanism"] = settings.kafka_sasl_mechanism
        properties["sasl.jaas.config"] = (
            f"{shaded}org.apache.kafka.common.security.{kind} required username={user} password={password};"
        )
    if settings.kafka_ssl_ca_file:
        properties["ssl.truststore.type"] = "PEM"
        properties["ssl.truststore.location"] = str(settings.kafka_ssl_ca_file)
    return properties


def _jaas_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "**********"
    if isinstance(value, str):
        return _URL_PASSWORD.sub(r"\1**********@", value)
    return str(value) if isinstance(value, Path) else value


def _from_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Pick the WEIR_ variables that name a field; others with that prefix belong to tests and tools."""
    names = {f"WEIR_{name}".upper(): name for name in Settings.model_fields}
    # An empty variable is how a shell script says "not set"
    return {names[key]: value for key, value in variables.items() if key in names and value != ""}


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except OSError as error:
        raise SettingsError(f"settings file {path} cannot be read: {error.strerror}") from error
    try:
        if path.suffix == ".json":
            content = json.loads(text)
            # stack.json also holds what only the stack needs: ports, pids
            return {key: content[key] for key in Settings.model_fields if content.get(key) is not None}
        content = tomllib.loads(text)
        return dict(content.get("weir", content))
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise SettingsError(f"settings file {path} is not valid: {error}") from error


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "there is no such setting; 'weir --help' and docs/operating.md list them"
        lines.append(f"{name}: {message}" if name else message)
    return "\n".join(lines)


def settings_table() -> str:
    """Every setting with its variable, default and meaning, as a Markdown table."""
    rows = ["| setting (in weir.toml) | environment | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, Path):
            default = default.relative_to(REPOSITORY)
        shown = "none" if default is None else f"`{default}`"
        rows.append(f"| `{name}` | `WEIR_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)
