"""The hub's address, as clients on this machine can use it."""

from ipaddress import ip_address


def url_of(host: str, port: int) -> str:
    """Of a hub that listens there; one that listens everywhere is reached by loopback."""
    name = host.strip("[]")
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        name = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
