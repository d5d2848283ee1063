"""The SQL edges: Kafka topics as tables of raw bytes, and micro-batches. No record crosses into Python alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyflink.datastream import DataStream
from pyflink.table import DataTypes, Schema, StreamTableEnvironment

from jobs.settings import Settings, flink_kafka_properties
from jobs.stream import row_types
from jobs.stream.keyed import keyed_row

_START = {
    # Without a checkpoint: the group's own offsets, else from the beginning.
    "committed": {"scan.startup.mode": "group-offsets", "properties.auto.offset.reset": "earliest"},
    "earliest": {"scan.startup.mode": "earliest-offset"},
    "latest": {"scan.startup.mode": "latest-offset"},
}
LARGEST_REQUEST_BYTES = 24 << 20
"""More than the largest record that the topics accept (16 MiB)."""
FETCH_BYTES, FETCH_PARTITION_BYTES = 4 << 20, 256 << 10
"""At most so much of a partition at once: after a pause the partitions then catch up side by side, and an account's
counterparty is not hours of event time ahead of it. A larger record comes all the same, alone."""
FETCH_ENOUGH_BYTES, FETCH_WAIT_MS = 64 << 10, 4
"""The broker answers a fetch when it has so much, or after so long."""
LEDGER_LINGER_MS = 50
"""Nobody can read a record of an exactly-once sink before its checkpoint: it may wait for company."""


def _with(options: Mapping[str, str]) -> str:
    return ", ".join(f"'{name}' = '{_quoted(value)}'" for name, value in options.items())


def _quoted(value: str) -> str:
    return value.replace("'", "''")


def _client_options(settings: Settings) -> dict[str, str]:
    return {f"properties.{name}": value for name, value in flink_kafka_properties(settings).items()}


def create_source(
    tables: StreamTableEnvironment, settings: Settings, topics: tuple[str, ...], *, committed_only: bool = False
) -> None:
    """Create the table `records`: the topics' raw bytes, with where and when they were produced."""
    options = {
        "connector": "kafka",
        "topic": ";".join(topics),
        "properties.isolation.level": "read_committed" if committed_only else "read_uncommitted",
        "properties.group.id": settings.group_id,
        "properties.fetch.max.bytes": str(FETCH_BYTES),
        "properties.max.partition.fetch.bytes": str(FETCH_PARTITION_BYTES),
        "properties.max.poll.records": "5000",
        # A micro-batch is gathered anyway: a request for every few records would cost the broker and us more than it.
        "properties.fetch.min.bytes": str(FETCH_ENOUGH_BYTES),
        "properties.fetch.max.wait.ms": str(FETCH_WAIT_MS),
        "key.format": "raw",
        "key.fields": "record_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        **_START[settings.start_from],
        **_client_options(settings),
    }
    tables.execute_sql(
        f"""CREATE TEMPORARY TABLE records (
            record_key BYTES,
            record_value BYTES,
            source_topic STRING METADATA FROM 'topic' VIRTUAL,
            source_partition INT METADATA FROM 'partition' VIRTUAL,
            source_offset BIGINT METADATA FROM 'offset' VIRTUAL,
            source_timestamp TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
            arrival AS PROCTIME()
        ) WITH ({_with(options)})"""
    )


def micro_batches(tables: StreamTableEnvironment, settings: Settings, keys: tuple[int, ...]) -> DataStream:
    """Gather `records` per home shard and topic for some milliseconds: one keyed row a batch."""
    create_sharded_view(tables, settings)
    # ARRAY_AGG keeps nulls and the order of arrival; LISTAGG would be quadratic.
    gathered = tables.sql_query(
        f"""SELECT
            CASE shard {" ".join(f"WHEN {shard} THEN {key}" for shard, key in enumerate(keys))} END,
            ROW(
                shard, source_topic, ARRAY_AGG(record_value), ARRAY_AGG(record_key),
                ARRAY_AGG(source_partition), ARRAY_AGG(source_offset), ARRAY_AGG(timestamp_ms)
            )
        FROM TABLE(TUMBLE(
            TABLE sharded, DESCRIPTOR(arrival), INTERVAL '{settings.microbatch_ms / 1000:.3f}' SECOND
        ))
        GROUP BY shard, source_topic, window_start, window_end"""
    )
    return tables.to_append_stream(gathered, keyed_row(row_types.micro_batch()))


def create_sharded_view(tables: StreamTableEnvironment, settings: Settings) -> None:
    """Create the view `sharded` of `records`: the home shard beside each."""
    tables.execute_sql(
        f"""CREATE TEMPORARY VIEW sharded AS SELECT
            MOD(source_partition, {settings.shards}) AS shard, source_topic, record_value, record_key,
            source_partition, source_offset,
            -- milliseconds since the epoch; temporal types cannot cross into Python in thread mode
            CAST(EXTRACT(EPOCH FROM source_timestamp) AS BIGINT) * 1000
                + EXTRACT(MILLISECOND FROM source_timestamp) AS timestamp_ms,
            arrival
        FROM records"""
    )


def create_followed_source(
    tables: StreamTableEnvironment, settings: Settings, name: str, topic: str, offset: int
) -> None:
    """Create a table of a topic of one partition and few records, from an offset on."""
    options = {
        "connector": "kafka",
        "topic": topic,
        "properties.group.id": f"{settings.group_id}-{name}",
        "properties.isolation.level": "read_committed",
        "scan.startup.mode": "specific-offsets",
        "scan.startup.specific-offsets": f"partition:0,offset:{offset}",
        "key.format": "raw",
        "key.fields": "record_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        **_client_options(settings),
    }
    tables.execute_sql(
        f"""CREATE TEMPORARY TABLE {name} (
            record_key BYTES,
            record_value BYTES,
            source_offset BIGINT METADATA FROM 'offset' VIRTUAL
        ) WITH ({_with(options)})"""
    )


def create_log_source(
    tables: StreamTableEnvironment, settings: Settings, name: str, topic: str, *, committed_only: bool
) -> None:
    """Create a table of a topic's records, one by one with their headers, from where the group stands."""
    options = {
        "connector": "kafka",
        "topic": topic,
        "properties.group.id": f"{settings.group_id}-{name}",
        "properties.isolation.level": "read_committed" if committed_only else "read_uncommitted",
        "key.format": "raw",
        "key.fields": "record_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        **_START[settings.start_from],
        **_client_options(settings),
    }
    tables.execute_sql(
        f"""CREATE TEMPORARY TABLE {name} (
            record_key BYTES,
            record_value BYTES,
            headers MAP<STRING, BYTES> METADATA VIRTUAL,
            source_partition INT METADATA FROM 'partition' VIRTUAL,
            source_offset BIGINT METADATA FROM 'offset' VIRTUAL
        ) WITH ({_with(options)})"""
    )


def followed_records(tables: StreamTableEnvironment, name: str) -> DataStream:
    """Return the records of such a table, one row each."""
    selected = tables.sql_query(f"SELECT record_key, record_value, source_offset FROM {name}")
    return tables.to_append_stream(selected, row_types.control_record())


def create_sink(
    tables: StreamTableEnvironment, settings: Settings, name: str, topic: str, *, is_exactly_once: bool, headers: bool
) -> None:
    """Create a sink table of raw keys and values, with headers if asked for."""
    options = {
        "connector": "kafka",
        "topic": topic,
        "key.format": "raw",
        "key.fields": "record_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "sink.delivery-guarantee": "exactly-once" if is_exactly_once else "at-least-once",
        "properties.linger.ms": str(LEDGER_LINGER_MS if is_exactly_once else settings.kafka_linger_ms),
        # Decisions are mostly numbers: to compress them costs the producer, and the broker, which looks into every
        # batch that it takes, more than the bytes do.
        "properties.compression.type": "none" if is_exactly_once else "lz4",
        "properties.acks": "all",
        "properties.batch.size": str(256 << 10),
        "properties.max.request.size": str(LARGEST_REQUEST_BYTES),
        "properties.buffer.memory": str(4 * LARGEST_REQUEST_BYTES),
        **_client_options(settings),
    }
    if is_exactly_once:
        options["sink.transactional-id-prefix"] = f"{settings.transactional_id_prefix}-{name}"
        options["properties.transaction.timeout.ms"] = str(settings.transaction_timeout_seconds * 1000)
    columns = "record_key BYTES, record_value BYTES"
    if headers:
        columns += ", headers MAP<STRING, BYTES> METADATA"
    tables.execute_sql(f"CREATE TEMPORARY TABLE {name} ({columns}) WITH ({_with(options)})")


def create_results_view(tables: StreamTableEnvironment, name: str, results: DataStream, columns: int = 4) -> None:
    """Create a view of rows of arrays of bytes: the decision stage's by default."""
    array = DataTypes.ARRAY(DataTypes.BYTES())
    schema = Schema.new_builder()
    for i in range(columns):
        schema = schema.column(f"f{i}", array)
    tables.create_temporary_view(name, tables.from_data_stream(results, schema.build()))


def create_refused_view(tables: StreamTableEnvironment, name: str, refused: DataStream) -> None:
    """Create a view of refused records' rows."""
    create_headed_view(tables, name, refused, len(DEAD_LETTER_HEADERS))


def create_headed_view(tables: StreamTableEnvironment, name: str, rows: DataStream, headers: int) -> None:
    """Create a view of rows of keys, values, and so many arrays of text that become headers."""
    schema = Schema.new_builder()
    for i in range(2):
        schema = schema.column(f"f{i}", DataTypes.ARRAY(DataTypes.BYTES()))
    for i in range(2, 2 + headers):
        schema = schema.column(f"f{i}", DataTypes.ARRAY(DataTypes.STRING()))
    tables.create_temporary_view(name, tables.from_data_stream(rows, schema.build()))


def insert_pairs(sink: str, view: str, keys: str, values: str) -> str:
    """Return SQL that writes two arrays of a results view as keys and values.

    The map is a view of the two arrays: it keeps their order, and keys that are equal. To take `keys[i]` beside an
    unnested value would copy the whole array of keys for every record.
    """
    return (
        f"INSERT INTO {sink} SELECT u.record_key, u.record_value FROM {view} "
        f"CROSS JOIN UNNEST(MAP_FROM_ARRAYS({keys}, {values})) AS u(record_key, record_value)"
    )


DEAD_LETTER_HEADERS = (
    "__connect.errors.topic",
    "__connect.errors.partition",
    "__connect.errors.offset",
    "__connect.errors.stage",
    "__connect.errors.exception.class.name",
    "__connect.errors.exception.message",
)
"""Names that Kafka Connect gives the headers of a dead letter, in the order of the row's fields."""


def insert_refused(sink: str, view: str) -> str:
    """Return SQL that writes refused records with the fields of their rows as headers."""
    return insert_headed(sink, view, DEAD_LETTER_HEADERS)


def insert_headed(sink: str, view: str, headers: Sequence[str]) -> str:
    """Return SQL that writes records of a headed view, the text beside them under the names of `headers`."""
    named = ", ".join(f"'{name}', ENCODE(f{i}[u.place], 'UTF-8')" for i, name in enumerate(headers, start=2))
    return (
        f"INSERT INTO {sink} SELECT f0[u.place], u.record_value, MAP[{named}] FROM {view} "
        f"CROSS JOIN UNNEST(f1) WITH ORDINALITY AS u(record_value, place)"
    )
