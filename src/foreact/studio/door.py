"""Who may see the studio: this machine only, or whoever has the key; never another site's page in the same browser."""

from __future__ import annotations

import hashlib
import hmac
import html
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from foreact_runtime.serve.door import is_loopback

COOKIE = "foreact_studio"
_LARGEST_FORM = 1 << 12
"""Bytes of a form with a key in it."""

_FORM = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>foreact studio</title><meta name="color-scheme" content="light dark">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}}
input,button{{font:inherit;padding:.4em .6em}}</style>
<h1>foreact studio</h1><form method="post"><p><label for="key">This studio asks for its key</label></p>
<p><input id="key" name="key" type="password" autocomplete="current-password" autofocus required>
<button>Enter</button></p></form><p role="alert">{said}</p></html>"""


class Door:
    """ASGI middleware in front of every page, picture and websocket.

    The key comes in the header `Authorization: Api-Key KEY` as with `foreact serve`, or from a form, after which the
    browser has a cookie. The cookie holds no key and stays good when the server begins anew with the same key.
    """

    def __init__(self, app: ASGIApp, *, api_key: str | None, host: str) -> None:
        """Take what is behind it.

        Args:
            app: The studio.
            api_key: None lets everybody in who can reach the address.
            host: Where the server listens.
        """
        self._app = app
        self._api_key = None if api_key is None else api_key.encode()
        self._loopback = is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or answer here."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers)
        if refusal is None and not self._has_key(headers):
            if scope["type"] == "http" and scope["method"] == "POST":
                refusal = await self._take_form(Request(scope, receive))
            else:
                refusal = _form("")
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await refusal(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, headers: Headers) -> Response | None:
        """Refuse names that only an attacker's server of names gives this machine, and other sites' pages."""
        host = headers.get("host", "")
        if self._api_key is None and self._loopback and not is_loopback(_name(host)):
            return PlainTextResponse(f"this studio is not '{host}'\n", 403)
        origin = headers.get("origin")
        if origin is not None and (not host or origin.partition("://")[2] != host):
            return PlainTextResponse("another site's page may not come in\n", 403)
        return None

    def _has_key(self, headers: Headers) -> bool:
        if self._api_key is None:
            return True
        offered = headers.get("authorization", "").encode(errors="surrogateescape")
        if hmac.compare_digest(offered, b"Api-Key " + self._api_key):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self._token())

    def _token(self) -> bytes:
        assert self._api_key is not None
        return hmac.new(self._api_key, b"foreact studio", hashlib.sha256).hexdigest().encode()

    async def _take_form(self, request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > _LARGEST_FORM:
                return _form("that is no key")
        offered = parse_qs(body.decode(errors="replace")).get("key", [""])[0].strip()
        assert self._api_key is not None
        if not hmac.compare_digest(offered.encode(errors="replace"), self._api_key):
            return _form("that is not the key")
        response = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, self._token().decode(), httponly=True, samesite="strict", secure=secure)
        return response


def _form(said: str) -> Response:
    response = HTMLResponse(_FORM.format(said=html.escape(said)), 401)
    response.headers["WWW-Authenticate"] = "Api-Key"
    return response


def _name(host: str) -> str:
    """Return a Host header's name without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # a bracket without its other
        return ""
