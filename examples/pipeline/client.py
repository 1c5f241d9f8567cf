"""Sends to the first stage; results come from the second."""

from addresses import PIPELINE_PUB, SERVER_DB

from palm.clients import Client

if __name__ == "__main__":
    client = Client("first", SERVER_DB, sub_address=PIPELINE_PUB)
    names = [b"ann", b"ben", b"cleo"]
    results = list(client.job(["first.greet", "second.shout"], names, messages=3))
    print(*results, sep="\n")
    if sorted(results) != [b"HELLO ANN", b"HELLO BEN", b"HELLO CLEO"]:
        raise SystemExit("these are not the results of both stages")
