"""The commands of `locksmithctl`, a module for each or for a few of a kind."""
