"""What a run leaves: its folder, its result, its network; whose stored classes are trusted."""
