"""Many finished runs held against each other: gathered, grouped, answered in words, drawn."""
