"""Labels joined with the decisions they are about: late, early, repeated and contradicting ones."""
