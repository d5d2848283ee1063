"""Back-tests: what other rules would have decided on transactions whose features are known. Pure columns."""
