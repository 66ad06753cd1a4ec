"""Real servers from the balancer: what each is to be, by the configuration, and how it becomes that.

Config ──jobs──► Server, Job ──runs──► Course (scripts sent by host/via.py) ──► cli/backend_far.py
"""
