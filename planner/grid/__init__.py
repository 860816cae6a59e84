"""Many settings at once, as NumPy arrays."""
