"""The calculator in a browser, on this machine only."""
