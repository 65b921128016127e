"""Is it true? Scores, calibration and reproducibility, gathered in one Report."""
