"""What a rollout will do: a plan, a reduced model of it, and a picture. Pure: time and chance are passed in."""
