"""What the machines of a group agree on through the store: slots, queue, orders, presence and history."""
