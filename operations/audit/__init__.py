"""What the line promises, checked against its log and its store. The checks are pure; `log` and `store_listing` read.

`jobs`, `prompts`, `completions` and `objects` hold one kind of promise each, `run` puts them together.
"""
