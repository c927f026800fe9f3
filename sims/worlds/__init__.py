"""Where samples come from, and the axes a sweep may have."""
