"""Every event of the line. Times are Unix seconds (UTC), durations seconds, sizes bytes."""
