"""The library behind the stages and commands, one module per idea."""
