"""Answers for photos and albums that people have."""
