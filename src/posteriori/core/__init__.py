"""The nouns and the one verb."""
