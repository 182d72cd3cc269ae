"""
Implements realtime sessions over WebRTC.

``Inworld.connect_webrtc`` uses this folder, which needs aiortc (extra ``webrtc``). ``link.py`` has
the connection, and ``signaling.py`` exchanges the offer and the answer. ``outgoing.py`` and
``incoming.py`` have the two audio tracks. ``track_speech.py`` joins the service's audio track with
the service's messages.

Threads: aiortc needs an asyncio event loop. Each connection has a loop on a thread of its own,
``inworld-webrtc-...``, which ends with the connection. No code of the user runs on this thread. One
loop for all connections of the process would save threads, but a stall of one connection would
delay the audio of all other connections, and the thread would outlive the connections.
"""
