"""Which of two systems serves a user better, as a judge says; and how far that judge can be believed."""
