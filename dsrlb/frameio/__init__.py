"""Where frames enter and leave: AF_PACKET sockets, pcap files, memory."""
