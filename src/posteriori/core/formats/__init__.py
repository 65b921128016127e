"""Formats that several sciences share, read strictly and written with their units."""
