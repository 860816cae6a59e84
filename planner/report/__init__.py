"""Plan -> something to look at. Functions return text or renderables; only the CLI prints."""
