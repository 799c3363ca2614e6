"""What people run: the command line, scenarios and the report."""
