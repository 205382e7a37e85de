"""What is measured and how. `make bench` prints one table; every figure stands beside its reference of the same run."""
