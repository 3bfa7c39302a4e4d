"""python library.py speech.wav [ws://127.0.0.1:8600/transcribe]"""

import sys

from transport.client import transcribe_file

path, url = [*sys.argv[1:], "ws://127.0.0.1:8600/transcribe"][:2]
print(transcribe_file(path, url=url).text)
