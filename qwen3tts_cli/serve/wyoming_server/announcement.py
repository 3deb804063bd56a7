"""Tells the local network, by mDNS, where the Wyoming server is, so that Home Assistant offers to add it."""

from __future__ import annotations

import ipaddress
import socket
import uuid
from typing import TYPE_CHECKING, Any

from ...errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

_TYPE = "_wyoming._tcp.local."
_LONGEST_NAME = 63  # bytes of a label


class Announcement:
    """Announces a server under a name while it runs.

    name: "" means one with the hardware address of this machine. bound: the socket that the server listens at. Raises
    UsageError for an address that other machines do not reach or a name that is too long, and if the package zeroconf
    is missing.
    """

    def __init__(self, name: str, bound: socket.socket) -> None:
        try:
            import zeroconf.asyncio
        except ImportError:
            raise UsageError('--zeroconf needs the package zeroconf: pip install "qwen3tts-cli[zeroconf]"') from None
        self._zeroconf: Any = zeroconf
        self.name = name or f"qwen3tts-{uuid.getnode():012x}"
        if len(self.name.encode()) > _LONGEST_NAME:
            raise UsageError(f"--zeroconf: found a name of {len(self.name.encode())} bytes, expected at most 63")
        if bound.family == socket.AF_UNIX:
            raise UsageError("--zeroconf: other machines do not reach a Unix socket; use --wyoming tcp://HOST:PORT")
        self.port = bound.getsockname()[1]
        self.addresses = self._addresses(bound.getsockname()[0].partition("%")[0])
        if not self.addresses:
            raise UsageError(f"--zeroconf: no other machine reaches {bound.getsockname()[0]}")
        self._running: Any = None

    def _addresses(self, host: str) -> list[str]:
        """The addresses at which other machines reach a socket that is bound to `host`."""
        import ifaddr  # which zeroconf needs too

        bound = ipaddress.ip_address(host)
        found = _addresses_of(ifaddr.get_adapters(), bound.version) if bound.is_unspecified else [bound]
        return [str(each) for each in found if not each.is_loopback and not each.is_link_local]

    async def start(self) -> None:
        """Begin to announce, over the interfaces of the addresses; takes about a second. Raises EngineError."""
        library = self._zeroconf.asyncio
        try:
            self._running = library.AsyncZeroconf(interfaces=list(self.addresses))
            info = library.AsyncServiceInfo(
                _TYPE, f"{self.name}.{_TYPE}", parsed_addresses=self.addresses, port=self.port
            )
            await (await self._running.async_register_service(info, allow_name_change=True))
        except (OSError, self._zeroconf.Error) as error:
            await self.stop()
            raise EngineError(f"--zeroconf: cannot announce the server: {error or type(error).__name__}") from None

    async def stop(self) -> None:
        """Tell the network that the server is gone."""
        running, self._running = self._running, None
        if running is not None:
            await running.async_unregister_all_services()
            await running.async_close()


def _addresses_of(adapters: Iterable[Any], version: int) -> list[Any]:
    """The addresses of this machine, as ipaddress has them. version: 4 or 6."""
    texts = [ip.ip if isinstance(ip.ip, str) else ip.ip[0] for adapter in adapters for ip in adapter.ips]
    return [address for address in map(ipaddress.ip_address, texts) if address.version == version]
