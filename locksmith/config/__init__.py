"""The settings: their keys, where they come from, and their validation."""
