"""Responses: what a model writes for each user, sampled so that it can be written again."""
