"""The commands of `python -m engine`: one function each, taking the parsed arguments and returning an exit code."""
