"""Studies: a YAML that names sets of pairs, runs, and the rows of a table, and what makes them, cell by cell."""
