"""Side services that look at evidence: one small package a service, all on one shared base."""
