"""Asking a server that speaks the chat-completions protocol, so that nothing is lost, asked twice or overpaid."""
