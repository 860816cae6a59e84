"""The door for programs. `planner` itself offers what is public of it, and nothing else (docs/python-api.md)."""
