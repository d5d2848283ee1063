"""Simulated load for a live Kafka: the demo, the benchmarks and ``weir simulate`` send it."""
