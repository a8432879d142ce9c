"""What the operating system is asked for: whole files, processes, streams, the log."""
