"""The edges: each module speaks to one thing outside; only `launcher.cli` knows that they exist."""
