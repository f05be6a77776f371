"""Evaluation: scores of a run, and what a difference of two runs means."""
