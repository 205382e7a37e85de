"""The only rooms that touch the outside: <technology>_<port>.py."""
