"""One definition of every feature, for online and offline."""
