"""Settings: precedence, checks, masking and the properties made for clients."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from jobs.evidence_settings import evidence_policy, evidence_weights, gather_policy, service_addresses
from jobs.settings import Settings, SettingsError, Topics, flink_kafka_properties, kafka_properties, settings_table
from models.scoring.evidence_policy import AskedService

SASL = {
    "kafka_security_protocol": "SASL_SSL",
    "kafka_sasl_mechanism": "SCRAM-SHA-512",
    "kafka_sasl_username": "weir",
    "kafka_sasl_password": 'se"cret',
}


def settings(**flags: object) -> Settings:
    return Settings.load(environment={}, files=(), **flags)


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "weir.toml"
    path.write_text('topic_prefix = "file."\nmicrobatch_ms = 30\nshards = 6\n')
    return path


def test_a_flag_wins_over_environment_file_and_default(settings_file: Path) -> None:
    environment = {"WEIR_TOPIC_PREFIX": "environment.", "WEIR_MICROBATCH_MS": "40"}
    loaded = Settings.load(environment=environment, files=(settings_file,), topic_prefix="flag.")
    assert loaded.topic_prefix == "flag."
    assert loaded.microbatch_ms == 40
    assert loaded.shards == 6
    assert loaded.parallelism == 1


def test_an_earlier_file_wins_over_a_later_one(settings_file: Path, tmp_path: Path) -> None:
    stack = tmp_path / "stack.json"
    stack.write_text(
        json.dumps({"bootstrap_servers": "127.0.0.1:1", "topic_prefix": "stack.", "processes": [], "ports": {}})
    )
    loaded = Settings.load(environment={}, files=(settings_file, stack))
    assert loaded.bootstrap_servers == "127.0.0.1:1"
    assert loaded.topic_prefix == "file."


def test_the_running_stack_of_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stack.json").write_text('{"redis_url": "redis://127.0.0.1:7/0"}')
    assert Settings.load(environment={}, home_dir=tmp_path).redis_url == "redis://127.0.0.1:7/0"
    assert Settings.load(environment={"WEIR_HOME_DIR": str(tmp_path)}).redis_url == "redis://127.0.0.1:7/0"


def test_an_empty_variable_means_not_set() -> None:
    assert Settings.load(environment={"WEIR_SHARDS": ""}, files=()).shards == 2


def test_a_flag_that_was_not_given_does_not_hide_the_file(settings_file: Path) -> None:
    assert Settings.load(environment={}, files=(settings_file,), shards=None).shards == 6


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        settings().shards = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ({"transaction_timeout_seconds": 1000}, "broker's limit"),
        ({"transaction_timeout_seconds": 60, "checkpoint_interval_seconds": 30}, "five checkpoint intervals"),
        ({"shards": 1, "parallelism": 2}, "hold no entities"),
        ({"entity_wait_ms": 30, "microbatch_ms": 20}, "degraded"),
        ({"kafka_security_protocol": "SASL_SSL"}, "kafka_sasl_mechanism"),
        ({**SASL, "kafka_security_protocol": "SSL"}, "would not be used"),
        ({"shards": "many"}, "shards"),
        ({"microbatch_ms": 0}, "microbatch_ms"),
        ({"shard": 2}, "no such setting"),
        ({"topic_prefix": "a b"}, "topic_prefix"),
    ],
)
def test_wrong_and_contradictory_settings_fail_at_start(flags: dict[str, object], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        settings(**flags)


def test_a_typing_mistake_in_the_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "weir.toml"
    path.write_text("shrads = 2\n")
    with pytest.raises(SettingsError, match="shrads: there is no such setting"):
        Settings.load(environment={}, files=(path,))


def test_a_file_that_is_not_toml_or_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "weir.toml"
    path.write_text("shards = = 2")
    with pytest.raises(SettingsError, match="is not valid"):
        Settings.load(environment={}, files=(path,))
    with pytest.raises(SettingsError, match="cannot be read"):
        Settings.load(environment={}, files=(tmp_path / "none.toml",))


def test_masked_values_show_no_secret() -> None:
    loaded = settings(
        **SASL, schema_registry_user_info="u:registrypass", redis_url="redis://user:redispass@host:6379/0"
    )
    shown = json.dumps(loaded.masked()) + repr(loaded.kafka_sasl_password)
    assert 'se\\"cret' not in shown
    assert "registrypass" not in shown
    assert "redispass" not in shown
    assert loaded.masked()["redis_url"] == "redis://user:**********@host:6379/0"


def test_topics_carry_the_prefix() -> None:
    assert settings(topic_prefix="x.").topics == Topics(
        "x.transactions", "x.labels", "x.decisions", "x.alerts", "x.dead-letters", "x.duplicates", "x.control",
        "x.model-updates", "x.drift", "x.shadow-alerts", "x.matured-labels", "x.evidence-requests", "x.evidence",
    )  # fmt: skip


def test_client_properties_carry_address_and_security() -> None:
    properties = kafka_properties(settings(**SASL, bootstrap_servers="k:1"), group_id="g")
    assert properties["bootstrap.servers"] == "k:1"
    assert properties["sasl.password"] == 'se"cret'
    assert properties["group.id"] == "g"
    assert "sasl.mechanism" not in kafka_properties(settings())


def test_the_connectors_login_module_has_the_shaded_name_and_a_quoted_password() -> None:
    line = flink_kafka_properties(settings(**SASL))["sasl.jaas.config"]
    assert line.startswith(
        "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.scram.ScramLoginModule required"
    )
    assert 'password="se\\"cret";' in line


def test_a_child_process_gets_the_same_settings_by_environment() -> None:
    loaded = settings(**SASL, shards=4, microbatch_ms=35)
    assert Settings.load(environment=loaded.as_environment(), files=()) == loaded


def test_every_setting_has_a_meaning_and_stands_in_the_table() -> None:
    table = settings_table()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"`WEIR_{name.upper()}`" in table


def test_tokens_of_services_reach_a_child_and_no_printout() -> None:
    loaded = settings(evidence_vision_url="http://127.0.0.1:9", evidence_vision_token="s3cret")
    assert "s3cret" not in json.dumps(loaded.masked()) + repr(loaded)
    assert loaded.as_environment()["WEIR_EVIDENCE_VISION_TOKEN"] == "s3cret"


def test_services_are_asked_as_soon_as_their_address_is_set() -> None:
    assert evidence_policy(settings()).services == ()
    loaded = settings(evidence_text_url="http://t", evidence_vision_url="http://v", evidence_vision_version="2")
    assert evidence_policy(loaded).services == (AskedService("vision", "2"), AskedService("text", "", True))
    assert evidence_policy(loaded).budget_ms == 10_000
    addresses = service_addresses(loaded)
    assert {name: address.url for name, address in addresses.items()} == {"vision": "http://v", "text": "http://t"}
    assert set(evidence_weights(loaded)) == {"vision", "text", "multimodal"}
    assert gather_policy(loaded).budget_seconds == 10.0


def test_a_call_longer_than_the_budget_is_refused() -> None:
    with pytest.raises(SettingsError, match="evidence_attempt_seconds"):
        settings(evidence_attempt_seconds=20, evidence_budget_seconds=10)
