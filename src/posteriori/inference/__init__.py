"""Every way from a target to a posterior, one method a file."""
