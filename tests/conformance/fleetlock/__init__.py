"""Whether a server speaks FleetLock: README.md says how it is run. It needs pytest alone, and may be copied."""
