"""A policy over a websocket: the server, a client, and the words both use. No torch; needs the extra `serve`."""
