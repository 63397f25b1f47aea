"""What was measured, for people: summaries, comparisons, tables, figures and the report."""
