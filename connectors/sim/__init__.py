"""A simulated plant with known truth, and a player of recordings: real servers on real sockets."""
