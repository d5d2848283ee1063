"""What happens to a request whatever protocol it came by: batches, deadlines, answers by request id. Knows no HTTP."""
