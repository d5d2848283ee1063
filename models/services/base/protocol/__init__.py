"""HTTP: KServe's V1 and the Open Inference Protocol V2, tokens, limits on bytes and time. Knows no model."""
