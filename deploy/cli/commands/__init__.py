"""One module a command, found by its file name; each exposes ``command: click.Command``."""
