"""What makes time pass and keeps the results: clock, bus, scenario, model, recorder."""
