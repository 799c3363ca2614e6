"""Who trades and who runs the grid and the market: agents, their devices, strategies and messages."""
