"""Functions that somebody would really run, each with a known answer it is checked against."""
