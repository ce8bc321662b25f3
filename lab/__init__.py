"""Topologies in network namespaces, with impairment of every link: for the demo, the tests and the benchmarks.

``lab.up.up(file)`` gives a ``lab.running.RunningLab``; ``lab.link.Impairment`` says what a link does to frames.
"""
