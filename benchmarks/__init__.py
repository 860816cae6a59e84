"""Measurements: accuracy against real starts, calibration, start time."""
