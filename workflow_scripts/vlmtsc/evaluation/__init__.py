"""Scoring label texts and measuring predictions."""
