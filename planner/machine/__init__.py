"""What touches the machine it runs on."""
