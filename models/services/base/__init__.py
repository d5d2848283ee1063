"""What every side service shares: protocols, dataplane, batching, limits; no model and no trained weight."""
