"""For tests of bots: a relay in memory, without sockets, TLS or a process.

Example, in a coroutine:

    from clave_client import Invited
    from clave_client.testing import MemoryRelay

    async with MemoryRelay() as relay:
        async with relay.client("red") as red, relay.client("blue") as blue:
            room = await red.create_room("friends")
            invited = blue.events()
            await room.invite("blue")
            async for event in invited:
                if isinstance(event, Invited):
                    break
            theirs = blue.room(event.room)
            messages = theirs.messages()
            await theirs.accept()
            await room.send("hello")
            async for message in messages:
                assert message.text == "hello"
                break
"""

from clave_client.testing.memory_relay import MemoryRelay

__all__ = ["MemoryRelay"]
