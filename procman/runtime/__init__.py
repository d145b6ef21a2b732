"""Effects: asyncio, processes, sockets, disk. Nothing here decides anything."""
