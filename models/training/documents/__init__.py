"""Synthetic documents with planted forgeries: what the evidence models are trained and tested on.

`sample.draw_sample(seed, split)` is the entry: a payment, its document as a JPEG, and the truth about it. Everything
follows from the seed; nothing is fetched. What is drawn is synthetic: shapes of documents, never a copy of a real one.
"""
