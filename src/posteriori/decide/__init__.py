"""What to do with a posterior: what to observe next, how to act, what to buy."""
