"""Asking side services about evidence: how often, for how long, and when no more. Pure asyncio; no Flink, no HTTP."""
