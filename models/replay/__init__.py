"""What replays share: the order of a recorded stream, and the comparison of two runs. Pure: no Kafka, no Flink."""
