"""A secure line: who is who, and what each may do."""
