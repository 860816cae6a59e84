"""Plain frozen types: a model, a GPU, a verdict, a plan, what runs where. No rules."""
