"""Rows of one's own users into records: what each row says, whose history it is, and who is kept for testing."""
