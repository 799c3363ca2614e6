"""Studies: many runs of one question, with a page of results that the command writes."""
