"""One module a question: what is asked becomes an answer."""
