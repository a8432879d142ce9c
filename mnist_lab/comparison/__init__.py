"""Many finished runs held against each other: `python -m mnist_lab.compare`.

In the order in which they are used: `gather` reads runs from their folders; `varied` says in which
settings they differ, and names them by these; `groups` puts together those that differ in their
seed alone; `differences` measures by how much groups differ, and `answers` says it in words;
`columns` holds what stands in `compare.csv` and in the leaderboard; `drawing` makes the figures, of
`panels` and `marks`; `sections` puts together what is told of one table, and `rendering` writes it
to the console and into files.
"""
