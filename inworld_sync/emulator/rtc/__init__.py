"""Implements Realtime over WebRTC. Only the handlers import aiortc (the extra ``webrtc``)."""
