"""Replay on Kafka and Flink: the range, the reader of the log, and the functions around the pure stages."""
