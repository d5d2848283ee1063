"""What `weir replay` and its subcommands are made of."""
