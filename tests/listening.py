"""How a server of the tests ends."""

import asyncio

TURNS = 4
"""From a connection that was accepted to its handler's first step, in turns of the loop."""


async def close(server: asyncio.Server) -> None:
    """Accept nobody any more, let the handlers of those that were accepted begin, and close.

    asyncio forgets, and never closes, a connection whose server closes between accepting and its transport.
    """
    for sock in server.sockets:
        server.get_loop().remove_reader(sock.fileno())
    for _ in range(TURNS):
        await asyncio.sleep(0)
    server.close()
