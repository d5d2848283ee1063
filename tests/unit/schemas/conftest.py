"""Settings of the property tests here."""

from hypothesis import settings

# The first example compiles, and a busy machine is no failure: no limit on the time of an example.
settings.register_profile("schemas", deadline=None)
settings.load_profile("schemas")
