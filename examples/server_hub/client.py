"""Sends texts to the server; results come from the workers of the hub."""

from addresses import HUB_PUB, SERVER_DB

from palm.clients import Client

if __name__ == "__main__":
    client = Client("first", SERVER_DB, sub_address=HUB_PUB)
    texts = [f"  {'x' * i} " for i in range(10)]
    results = list(client.job(["first.clean", "hub.length"], texts, messages=10))
    print(*results)
    if sorted(results) != list(range(10)):
        raise SystemExit("these are not the results of both stages")
