"""The batch model and a learner as one score: a rule under which a learner that gets worse loses its weight."""
