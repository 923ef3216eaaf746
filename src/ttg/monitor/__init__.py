"""One model of what is going on, and its views."""
