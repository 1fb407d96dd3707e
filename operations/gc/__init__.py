"""What the store holds, for whom, and how to free what nobody needs. `places`, `holds` and `plan` are pure."""
