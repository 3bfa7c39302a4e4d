"""python client.py speech.wav [ws://127.0.0.1:8600/transcribe]"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect


async def send(server, file):
    while chunk := file.read(6400):  # a WAV file as it is: its header says what it holds
        await server.send(chunk)
    await server.send(json.dumps({"event": "stop"}))


async def main(file, url):
    async with connect(url) as server, asyncio.TaskGroup() as tasks:
        tasks.create_task(send(server, file))
        async for message in server:
            event = json.loads(message)
            if event["event"] == "transcript" and event["is_final"] and event["text"]:
                print(event["text"])
            elif event["event"] == "error":
                print(event["message"], file=sys.stderr)


path, url = [*sys.argv[1:], "ws://127.0.0.1:8600/transcribe"][:2]
with open(path, "rb") as file:
    asyncio.run(main(file, url))
