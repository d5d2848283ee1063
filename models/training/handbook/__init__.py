"""The Fraud Detection Handbook's protocol, with the book's features and with the engine's: `make accuracy`."""
