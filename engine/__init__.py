"""The routing engine: everything the console does, without a user interface."""
