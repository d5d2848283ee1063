"""Contents that a request brings or points to: fetched from configured places only, judged by what they are."""
