"""Removes from the store what is deleted or expired, and what nobody refers to. Decides nothing about a job."""
