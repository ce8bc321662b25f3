"""What a node shows of itself: values, endpoint, page and metrics."""
