"""Vision and audio towers beside a decoder."""
