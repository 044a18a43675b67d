"""Who uses the phone: signing in, staying signed in, and where keys and tokens are kept."""
