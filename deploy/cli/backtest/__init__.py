"""What `weir backtest` is made of."""
