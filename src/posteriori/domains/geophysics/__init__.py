"""Geophysical inversion: surveys and their files, problems on real data, and what is asked of them."""
