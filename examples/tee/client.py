"""Sends numbers to the first stage; two others get what it makes of them."""

from addresses import ANSWERING_PUB, COUNTING_DB, SERVER_DB

from palm.clients import Client

STAGES = ["first.double", ["answering.answer", "counting.count"]]


def wait_for_both(client: Client, counting: Client) -> None:
    """Send until both stages get it: a tee delivers to those that are there."""
    tries = 1
    while not (list(client.job(STAGES, [0])) and counting.get("count")):
        tries += 1
    print(f"both stages got message {tries}")


if __name__ == "__main__":
    client = Client("first", SERVER_DB, sub_address=ANSWERING_PUB)
    counting = Client("counting", COUNTING_DB)
    wait_for_both(client, counting)
    results = list(client.job(STAGES, range(10), messages=10))
    print(*results)
    if sorted(results) != [2 * i + 1 for i in range(10)]:
        raise SystemExit("these are not the results of the stage that answers")
    total = counting.get("total")
    print(f"the other stage counted {total}")
    if total != sum(2 * i for i in range(10)):
        raise SystemExit("the other stage did not get all messages")
