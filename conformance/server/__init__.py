"""The door for servers: raw messages of several phones, and what must come back."""
