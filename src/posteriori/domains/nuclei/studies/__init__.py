"""Studies of nuclear masses; each file is one."""
