"""What happens by time: queries on indexes, never scans, whatever instance runs them."""
