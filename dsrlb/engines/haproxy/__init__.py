"""Mode proxy: HAProxy ends the connections; dsrlb writes its configuration and steers it while it runs."""
