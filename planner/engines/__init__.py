"""What each runtime does, as facts and rules."""
