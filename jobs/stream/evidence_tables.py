"""The SQL edges of the job that gathers evidence: requests by service, and revised alerts from committed evidence."""

from __future__ import annotations

from collections.abc import Sequence

from pyflink.datastream import DataStream
from pyflink.table import DataTypes, Schema, StreamTableEnvironment

from jobs.settings import Settings
from jobs.stream import row_types
from jobs.stream.evidence_function import ALERT_HEADER, SERVICE_HEADER
from jobs.stream.tables import DEAD_LETTER_HEADERS, create_log_source


def create_requests(tables: StreamTableEnvironment, settings: Settings) -> None:
    """Create the table `requests`."""
    create_log_source(tables, settings, "requests", settings.topics.evidence_requests, committed_only=False)


def requests_for(tables: StreamTableEnvironment, service: str) -> DataStream:
    """Return the requests for one service, as rows of `row_types.evidence_request`."""
    return _requests(tables, f"{_SERVICE} = '{service}'")


def other_requests(tables: StreamTableEnvironment, services: Sequence[str]) -> DataStream:
    """Return the requests for none of some services."""
    names = ", ".join(f"'{name}'" for name in services)
    return _requests(tables, f"{_SERVICE} IS NULL OR {_SERVICE} NOT IN ({names})" if names else "TRUE")


_SERVICE = f"DECODE(headers['{SERVICE_HEADER}'], 'UTF-8')"


def _requests(tables: StreamTableEnvironment, condition: str) -> DataStream:
    columns = "record_key, record_value, source_partition, source_offset"
    selected = tables.sql_query(f"SELECT {columns} FROM requests WHERE {condition}")
    return tables.to_append_stream(selected, row_types.evidence_request())


def create_results(tables: StreamTableEnvironment, results: DataStream) -> None:
    """Create the view `results` of rows of `row_types.evidence_result`."""
    schema = Schema.new_builder().column("f0", DataTypes.BOOLEAN())
    for i in range(1, 4):
        schema = schema.column(f"f{i}", DataTypes.BYTES())
    for i in range(4, 10):
        schema = schema.column(f"f{i}", DataTypes.STRING())
    tables.create_temporary_view("results", tables.from_data_stream(results, schema.build()))


def insert_evidence(sink: str) -> str:
    """Return SQL that writes endings, each with the revised alert in a header."""
    return f"INSERT INTO {sink} SELECT f1, f2, MAP['{ALERT_HEADER}', f3] FROM results WHERE f0"


def insert_dead_letters(sink: str) -> str:
    """Return SQL that writes requests that cannot be read."""
    headers = ", ".join(f"'{name}', ENCODE(f{i}, 'UTF-8')" for i, name in enumerate(DEAD_LETTER_HEADERS, start=4))
    return f"INSERT INTO {sink} SELECT f1, f2, MAP[{headers}] FROM results WHERE NOT f0"


def create_committed_evidence(tables: StreamTableEnvironment, settings: Settings) -> None:
    """Create the table `committed`: endings that no restart takes back."""
    create_log_source(tables, settings, "committed", settings.topics.evidence, committed_only=True)


def insert_revised_alerts(sink: str) -> str:
    """Return SQL that copies the revised alerts out of the committed endings."""
    return (
        f"INSERT INTO {sink} SELECT record_key, headers['{ALERT_HEADER}'] FROM committed "
        f"WHERE headers['{ALERT_HEADER}'] IS NOT NULL"
    )
