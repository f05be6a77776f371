"""Data: from a source to arrays, and in batches."""
