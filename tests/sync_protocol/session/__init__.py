"""Tests of the session machines."""
