"""Realtime over WebRTC. It needs the extra ``webrtc`` (aiortc), which only its handlers import."""
