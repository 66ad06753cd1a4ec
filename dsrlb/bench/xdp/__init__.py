"""What a packet costs in the program at XDP: ``dsrlb bench``."""
