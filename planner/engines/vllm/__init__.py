"""vLLM: its rules, its ledger, its search, its command line and its log."""
