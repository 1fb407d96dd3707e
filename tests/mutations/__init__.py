"""Each promise broken on purpose, and the test that notices: `make mutations`.

`catalogue` is the table; `run` applies one mutation at a time to a copy of the tree and expects its test to fail.
"""
