"""The commands: `convline NAME` runs `main` of the module NAME."""
