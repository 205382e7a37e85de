"""The stories, one file each: read everything, think with pure functions, write once."""
