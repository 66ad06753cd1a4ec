"""A whole network in namespaces: client, router, switch, balancer, real servers; for people and tests."""
