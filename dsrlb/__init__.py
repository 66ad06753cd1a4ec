"""dsrlb: a Layer-4 load balancer with Direct Server Return."""
