"""Preference directions for history that comes without: questions about each item, put to a model."""
