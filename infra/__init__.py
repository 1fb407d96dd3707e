"""The line's surroundings: local stack, images, dashboards. Knows topics and settings, never the work itself."""
