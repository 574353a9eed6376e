"""Errors that a user can cause and mend."""


class InputError(ValueError):
    """Bad input: the message names the file, row or key, what was found, and what is allowed."""
