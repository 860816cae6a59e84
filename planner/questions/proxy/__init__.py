"""What stands in front of servers and has no memory of its own: LiteLLM's configuration and messages."""
