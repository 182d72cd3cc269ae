"""Has the calls of the HTTP services, such as the calls for voices, tokens and completions."""
