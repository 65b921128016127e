"""Studies of geophysical inversion; each file is one."""
