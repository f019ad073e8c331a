"""What an operator sees of a group: its state, the explanation of it, and the forecast."""
