"""A server that awaits a call for each request: its event loop is free meanwhile, and a call that ends its process
costs one answer.

    python examples/answering_requests.py
"""

from __future__ import annotations

import asyncio
import os
from urllib.parse import parse_qs, urlsplit

import ttg
from ttg.errors import ProcessDied


def factors(number: int) -> list[int]:
    """The prime factors; a process that is asked for those of 13 has bad luck."""
    if number == 13:
        os._exit(1)
    found, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


class Server:
    """Answers ``GET /?n=360`` with the factors of 360."""

    def __init__(self, executor: ttg.Executor) -> None:
        self._executor = executor

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        _, target, _ = (await reader.readline()).decode().split(" ")
        number = int(parse_qs(urlsplit(target).query)["n"][0])
        try:
            found = await asyncio.wrap_future(self._executor.submit(factors, number))
            status, text = "200 OK", " ".join(map(str, found))
        except ProcessDied as error:
            status, text = "500 Internal Server Error", str(error)
        body = f"{text}\n".encode()
        writer.write(f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()


async def ask(port: int, number: int) -> str:
    """What the server answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /?n={number} HTTP/1.0\r\n\r\n".encode())
    said = (await reader.read()).decode()
    writer.close()
    return said.rpartition("\r\n")[2].strip()


async def main() -> None:
    """Asks five things at once."""
    with ttg.Executor(2) as executor:
        server = await asyncio.start_server(Server(executor).answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        numbers = [360, 97, 13, 1001, 2**20 + 7]
        for number, answer in zip(numbers, await asyncio.gather(*(ask(port, n) for n in numbers)), strict=True):
            print(f"{number}: {answer}")
        server.close()


if __name__ == "__main__":
    asyncio.run(main())
