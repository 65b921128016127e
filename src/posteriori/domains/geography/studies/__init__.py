"""Studies of rasters; each file is one."""
