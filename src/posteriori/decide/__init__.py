"""What to do: the next observation, the action of least loss, what to spend where."""
