"""A seeded simulator of trouble around sites, providers and links, with the redundancy policy in closed loop."""
