"""The interfaces that services need and that repositories and storage fulfil."""
