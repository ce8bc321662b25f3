"""What must hold between the keys of a topology file, one file per subject.

Each rule reports what it finds and goes on. Where an entry was left out for its shape, nothing is said of those that
refer to it.
"""
