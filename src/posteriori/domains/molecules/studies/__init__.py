"""Studies of molecules and lattices; each file is one."""
