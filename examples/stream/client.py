"""Sends numbers; each comes back from the stage that is for it."""

from addresses import SERVER_DB

from palm.clients import Client

if __name__ == "__main__":
    client = Client("first", SERVER_DB)
    job = client.job(["first.next", ["even.tell", "odd.tell"]], range(10), ordered=True)
    results = list(job)
    print(*results, sep="\n")
    if results != [f"{i} is {'odd' if i % 2 else 'even'}" for i in range(1, 11)]:
        raise SystemExit("not each number went to the stage that is for it")
