"""Speech to text: streams that outlive their connections, and whole recordings."""
