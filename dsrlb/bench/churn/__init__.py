"""How many connections break while servers and the balancer itself come and go?  (docs/BENCHMARKS.md)"""
