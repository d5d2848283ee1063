"""What keeps bad labels from learners, and learners from bad labels."""
