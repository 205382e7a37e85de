"""HTTP/1.1 as our servers speak it: an offer to change the protocol is passed over, never at the cost of the body.

Java's HTTP client, curl --http2 and others offer HTTP/2 by `Upgrade: h2c` on an ordinary POST. A server may ignore that
(RFC 9110, 7.8), but the parser underneath stops behind the headers, and uvicorn then takes the body for empty: the
events in it would be answered 400 and lost.
"""

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class PlainHttp(HttpToolsProtocol):
    """uvicorn's protocol; a request that offers an upgrade is read to its end as what it is."""

    _is_primed = False  # the parser is being told of a head that was read already

    def data_received(self, data: bytes) -> None:
        """Bytes of the connection."""
        self._unset_keepalive_if_required()
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                self._go_on_reading()
            except httptools.HttpParserError:
                message = "Invalid HTTP request received."
                self.logger.warning(message)
                self.send_400_response(message)
                return

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._is_primed:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Its path has come."""
        if not self._is_primed:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers has come."""
        if not self._is_primed:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """All of its headers have come."""
        if not self._is_primed:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It has come whole; one that offers an upgrade has only its head behind it, see `_go_on_reading`."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _go_on_reading(self) -> None:
        """Put a fresh parser in place that knows how long the body is, and nothing of the offer."""
        wanted = (b"content-length", b"transfer-encoding")
        framing = b"".join(name + b": " + value + b"\r\n" for name, value in self.headers if name in wanted)
        is_kept = self.parser.should_keep_alive()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._is_primed = True
        try:
            self.parser.feed_data(
                b"POST / HTTP/1.1\r\n" + (b"" if is_kept else b"Connection: close\r\n") + framing + b"\r\n"
            )
        finally:
            self._is_primed = False
