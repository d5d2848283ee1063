"""The scoring job without what scores: records gathered into micro-batches, taken apart, and written exactly once.

What the JVM's part of the way costs, with nothing of ours in Python: a floor for the whole.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.settings import Settings
from jobs.stream import tables

JOB_NAME = "bench-jvm-path"


def main(argv: Sequence[str] | None = None) -> int:
    """Submit: SINK_TOPIC; the rest is in the environment, as the scoring job has it."""
    (sink,) = list(argv if argv is not None else sys.argv[1:])
    settings = Settings.load().model_copy(update={"group_id": JOB_NAME, "transactional_id_prefix": JOB_NAME})
    configuration = Configuration()
    for name, value in {
        "parallelism.default": "1",
        "execution.checkpointing.interval": f"{settings.checkpoint_interval_seconds * 1000:.0f} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.buffer-timeout.interval": f"{settings.buffer_timeout_ms} ms",
        "pipeline.object-reuse": "true",
    }.items():
        configuration.set_string(name, value)
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    sql = StreamTableEnvironment.create(environment)
    tables.create_source(sql, settings, (settings.topics.transactions,))
    tables.create_sharded_view(sql, settings)
    # As `tables.micro_batches` gathers them, with the same columns.
    sql.execute_sql(
        f"""CREATE TEMPORARY VIEW gathered AS SELECT
            ARRAY_AGG(record_key) AS record_keys, ARRAY_AGG(record_value) AS record_values,
            ARRAY_AGG(source_partition) AS source_partitions, ARRAY_AGG(source_offset) AS source_offsets,
            ARRAY_AGG(timestamp_ms) AS timestamps_ms
        FROM TABLE(TUMBLE(
            TABLE sharded, DESCRIPTOR(arrival), INTERVAL '{settings.microbatch_ms / 1000:.3f}' SECOND
        ))
        GROUP BY shard, source_topic, window_start, window_end"""
    )
    tables.create_sink(sql, settings, "written", sink, is_exactly_once=True, headers=False)
    statements = sql.create_statement_set()
    statements.add_insert_sql(tables.insert_pairs("written", "gathered", "record_keys", "record_values"))
    statements.attach_as_datastream()
    environment.execute_async(JOB_NAME)
    return 0


if __name__ == "__main__":
    sys.exit(main())
