"""Programs and inhibitors that tests put on a machine."""

from pathlib import Path

from tests.harness.node import Node

BACKUP = ("shutdown", "backup", "the weekly backup runs", "block", 0, 4711)


def program(node: Node, path: str, text: str, *, mode: int = 0o755) -> Path:
    """Write a program below /etc/locksmith of a node."""
    file = node.paths.root / "etc/locksmith" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(mode)
    return file
