"""What all commands share: arguments, computed names, errors in a line, sweeps, search."""
