"""Nuclear masses: evaluated tables, mass models and what is asked of them."""
