"""The server: what it answers, within which limits, and with which model."""
