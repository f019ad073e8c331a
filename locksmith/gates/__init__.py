"""What may say "not now": each module is one kind of objection."""
