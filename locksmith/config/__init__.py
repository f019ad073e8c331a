"""The settings of both programs: their keys, their sources, and their validation."""
