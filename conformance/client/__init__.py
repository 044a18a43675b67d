"""The door for clients: golden vectors, and a scripted server that a client's phone talks to."""
