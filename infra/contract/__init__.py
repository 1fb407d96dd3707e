"""The contract for people and programs outside: schemas, AsyncAPI and pages, generated from the tables in code."""
