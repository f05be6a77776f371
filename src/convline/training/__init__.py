"""Training: augmented batches in, the best epoch and its history out."""
