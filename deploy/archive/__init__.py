"""A document archive for simulated streams: draws the document behind a reference when it is asked for."""
