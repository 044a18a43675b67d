"""Tests of the sync protocol, one file per module."""
