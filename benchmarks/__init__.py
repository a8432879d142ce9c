"""What is fast, measured beside what a user would take instead: `make bench`."""
