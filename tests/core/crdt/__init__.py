"""Tests of the field types, one file each."""
