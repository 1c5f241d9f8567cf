"""Sends messages that take two ways, and gets all of them from the sink."""

from addresses import SERVER_DB, SINK_PUB

from palm.clients import Client

if __name__ == "__main__":
    client = Client("first", SERVER_DB, sub_address=SINK_PUB)
    stages = ["first.echo", ["left.mark", "right.mark"], "sink.finish"]
    results = list(client.job(stages, [f"message {i}" for i in range(10)], ordered=True))
    print(*results, sep="\n")
    sides = ["left", "right"] * 5
    if results != [f"message {i} went {side}, and arrived." for i, side in enumerate(sides)]:
        raise SystemExit("not each message went its way to the sink")
