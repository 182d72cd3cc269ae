"""Reads the JavaScript for pages, which is the file ``static/inworld.js`` of the package."""

from __future__ import annotations

from functools import cache
from importlib import resources

__all__ = ["script"]


@cache
def script() -> str:
    """
    Return the JavaScript module for pages. Serve the module as ``text/javascript``.

    The page imports the class ``Conversation`` from the module. The module also loads itself as an
    AudioWorklet from its own address, so the module needs a URL and cannot be a part of the page.
    In Flask::

        @app.get("/inworld.js")
        def inworld_js():
            return Response(web.script(), mimetype="text/javascript")

    The file is read at the first call. Threads may call this function at the same time.
    """
    file = resources.files("inworld_sync.web") / "static" / "inworld.js"
    return file.read_text(encoding="utf-8")
