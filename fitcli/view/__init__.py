"""Shows images and what lies over them in a browser: a server on this machine and its page."""
