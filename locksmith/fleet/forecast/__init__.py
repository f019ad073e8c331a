"""The forecast of a rollout: how long it takes, and what limits it. Pure."""
