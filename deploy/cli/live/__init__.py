"""The demo's live view: what is counted (pure), how it looks, and who feeds it."""
