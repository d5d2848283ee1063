"""Compiled loops of the entity store. They see nothing but arrays of 64-bit words."""
