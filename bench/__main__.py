"""`python -m bench SCENARIO …`: what can be measured, a line each, and the measuring. Without a scenario, the list."""

from __future__ import annotations

import argparse
import importlib
import sys

from transport.expected import ExpectedError

SCENARIOS = {
    "actors": "messages, questions and memory of actors, beside other libraries and a bare asyncio.Queue",
    "supervisor": "starting, restarting and stopping supervised children, beside a bare TaskGroup",
    "wer": "word error rate over a folder of recordings: whole path against bare engine",
    "cache": "the cache of transcripts: how surely it finds a recording again, how rarely a wrong one, its costs",
    "metrics": "what seeing costs: a session's work with and without log, metrics and console; a look, a scrape",
    "journal": "what each store of the journal takes, and how long a final waits to be committed",
    "faults": "what becomes of words when things fail: the fault matrix, counted word by word",
    "errors": "every error, made to happen: what the log, the metrics, the alerts and the client show of it",
    "mttr": "how long words stay away when a backend fails, beside an ordinary handler on the same faults",
    "storm": "many sessions cut at once: how soon all are back, and what that costs the server",
    "workers": "sessions that one worker carries in real time, and two do, each with the same part of a core",
    "plan": "no measure but arithmetic: what so many sessions take, and a storm of them when a zone is lost, simulated",
    "overload": "goodput while up to four times as many clients come as there is room for, with a plot",
    "soak": "mixed faults for half an hour: words lost and doubled, and whether memory, files or tasks grow",
    "live": "sessions at real-time pace: how soon after the end of speech the finals come",
    "alerts": "spikes of errors that the built-in notifier finds, and alarms for nothing, over simulated weeks",
    "fuzz": "broken and malicious input for every wire protocol: what escapes is a defect",
    "capacity": "sessions in real time for each core, and what becomes of those who come when there is no room",
    "memory": "KiB of a silent and of a talking session, and what thousands of short ones leave behind",
    "latency": "what the gateway adds on the way to Riva and back, by stage, beside a bare relay",
    "load": "so many sessions in real time on a server here: how late answers are, and whether the load was the limit",
    "target": "load, latency and faults against an endpoint of yours, from outside",
    "relay": "what a frame of audio costs, and the time it adds, beside a bare relay from WebSocket to gRPC",
    "peers": "the same load and faults through what one would pick instead: FastAPI, Node, a vosk-style server",
    "dialects": "other systems' protocols: what a frame costs in each, beside voxtree's own",
    "riva": "no measure but a means: a scripted Riva that recognises word-coded audio and fails as a plan says",
    "all": "every scenario, one after another, into a folder",
    "report": "a page of what was measured, with plots; or what changed since another run",
}
WIDTH = max(map(len, SCENARIOS))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures voxtree on this machine.")
    commands = parser.add_subparsers(dest="scenario", metavar="SCENARIO")
    for name, summary in SCENARIOS.items():
        module = importlib.import_module(f"bench.{name}")
        module.add_arguments(
            commands.add_parser(
                name,
                help=summary,
                description=module.__doc__,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    args = parser.parse_args()
    if args.scenario is None:
        print("python -m bench SCENARIO …   (--help says more, of each scenario too)\n")
        print("\n".join(f"{name:{WIDTH}} {summary}" for name, summary in SCENARIOS.items()))
        return 0
    try:
        return int(importlib.import_module(f"bench.{args.scenario}").run(args))
    except ExpectedError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
