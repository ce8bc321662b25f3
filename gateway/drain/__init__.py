"""Live connections of a gateway that is drained go to its sibling."""
