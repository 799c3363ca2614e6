"""Sweeps: many replicas of many variants of a scenario, as an experiment file says; kept one by one, and resumed."""
