"""The control loop of one machine: it observes, decides and performs, and does no IO of its own."""
