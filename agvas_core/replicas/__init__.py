"""Several copies of an engine behind Ray Serve, and what each copy does with a question."""
